"""What can be set: where to listen, how to choose a node, limits and timeouts."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

STRATEGIES = ("hash", "round-robin", "weighted", "least-sessions")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take, and one node: bytes and seconds."""

    in_flight: int = 10_000
    """Requests and WebSockets at a time; one more is answered 503."""
    body: int = 1 << 30
    """Bytes of a request's body; a longer one is answered 413."""
    replay: int = 64 * 1024
    """Bodies up to so many bytes are held in memory, so that an attempt can be repeated."""
    attempts: int = 3
    """Nodes to ask for one request, at most."""
    connect: float = 1.0
    """Seconds to connect to a node."""
    answer: float = 60.0
    """Seconds that a node may be silent, before its answer and within it."""
    client: float = 30.0
    """Seconds that a client may be silent while it sends, or take nothing while it receives."""
    idle: float = 75.0
    """Seconds that a client may keep a connection open without a (whole) request head."""
    gone: float = 2.0
    """Seconds to go on waiting for the answer of a node that has left the topology, and to keep its WebSockets."""
    grace: float = 10.0
    """Seconds that requests get to end when the router stops; WebSockets are closed within half of it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this router works."""

    strategy: str = "hash"
    hash_by: str = "user"
    services_under: str = "/api/"
    """Paths below it name a service; empty: there are no services."""
    service_label: str = "service"
    select: Mapping[str, str] = field(default_factory=dict)
    """Labels that a node must have to be picked at all."""
    endpoint: str = ""
    """The name of the nodes' endpoint to go to; empty: their address, by plain HTTP."""
    trusted: tuple[Network, ...] = ()
    """Where the proxies stand whose X-Forwarded-* headers are believed."""
    limits: Limits = field(default_factory=Limits)

    def trusts(self, peer: str) -> bool:
        """Whether what this peer (an IP address) says about its own client is believed."""
        if not self.trusted:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self.trusted)
