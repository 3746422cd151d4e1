"""What goes wrong, and who is told."""

from __future__ import annotations


class GatewayError(Exception):
    """The base of the gateway's own errors."""


class BadFrame(GatewayError, ValueError):
    """A client said what the protocol doesn't have; its connection is closed with `code`."""

    def __init__(self, why: str, code: int = 4400) -> None:
        super().__init__(why)
        self.code = code


class LogUnavailable(GatewayError):
    """The message log can't be read or written just now; what was asked for may or may not have happened."""


class LinkRefused(GatewayError):
    """The other end of a link is not who it should be, or doesn't know the secret."""
