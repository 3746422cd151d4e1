"""A request's body on its way to a node: held where it is short, so that it can be sent again, streamed where not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from examples.router.failures import Failure
from examples.router.settings import Limits


class Body:
    """The body of one request, for as many attempts as it allows."""

    def __init__(self, request: web.BaseRequest, limits: Limits) -> None:
        self._content = request.content
        self._limits = limits
        self._held: bytes | None = None
        self._begun = False
        self.failure: Failure | None = None
        """What the client did wrong while it sent, if anything."""

    @classmethod
    async def of(cls, request: web.BaseRequest, limits: Limits) -> Body:
        """Return the body of a request, with what is short of it already read. Raises `Failure`."""
        length = request.content_length
        if length is not None and length > limits.body:
            raise Failure(413, "body_too_large", f"the body has {length} bytes, more than the {limits.body} allowed")
        body = cls(request, limits)
        if not request.body_exists:
            body._held = b""
        elif length is not None and length <= limits.replay:
            body._held = b"".join([chunk async for chunk in body._chunks()])
        return body

    @property
    def repeatable(self) -> bool:
        """Whether another attempt would send the whole of it."""
        return self._held is not None or not self._begun

    def data(self) -> bytes | AsyncIterator[bytes] | None:
        """Return what to send in the next attempt."""
        if self._held is not None:
            return self._held or None
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        self._begun = True
        try:
            async for chunk in self._chunks():
                yield chunk
        except Failure as failure:
            self.failure = failure
            raise

    async def _chunks(self) -> AsyncIterator[bytes]:
        sent = 0
        while chunk := await self._next():
            sent += len(chunk)
            if sent > self._limits.body:
                raise Failure(413, "body_too_large", f"the body has more than the {self._limits.body} bytes allowed")
            yield chunk

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.client):
                return await self._content.readany()
        except TimeoutError:
            message = f"nothing came of the body for {self._limits.client:g} s"
            raise Failure(408, "client_too_slow", message) from None
        except web.RequestPayloadError as error:
            raise Failure(400, "bad_body", f"the body is malformed: {error}") from None
