"""One endpoint's HTTP: `etcd3.AioClient` with what is broken in it replaced.

Kept from etcd3-py: the RPC surface and its request encoding, the paths by server version, the typed errors. Replaced:
the constructor, which asks the version synchronously; TLS, which checks no host name; decoding, which takes half a
millisecond a key; the streams, which fail with today's aiohttp. Its encoding is helped along: see `_request_schema`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import etcd3
import msgspec
import semantic_version
from etcd3.baseclient import BaseClient
from etcd3.swagger_helper import SwaggerSpec
from etcd3.swaggerdefs import get_spec

from clusterd.etcd.errors import EtcdError, TlsFailed, Unavailable, classify
from clusterd.etcd.messages import decode_error
from clusterd.version import __version__

# The gateway's paths are the same from 3.4 on; an older server's are found out by `detect_version`.
_ASSUMED_VERSION = "3.4.0"
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class _Version(msgspec.Struct):
    etcdserver: str
    etcdcluster: str = ""


@functools.cache
def _spec(version: str) -> Any:
    """One parsed specification per version: etcd3-py keeps every one it parsed for ever."""
    return SwaggerSpec(get_spec(version))


@functools.cache
def _request_schema(spec: Any, rpc: str) -> Any:
    """The schema of a call's request, with every lookup in it done; None for calls that etcd3-py doesn't know.

    etcd3-py looks each field of each request up again, through a cache that inspects a function's signature each
    time: up to a millisecond a request. What was found once is put where Python looks first.
    """
    path = spec.getPath(rpc)
    if path is None:
        return None
    schema = path.post.parameters[0].schema
    _pin(schema)
    return schema


def _pin(schema: Any) -> None:
    """Do the lookups that encoding by `schema` needs, and keep what they find as attributes. Schemas can be cyclic."""
    kind = vars(schema)["type"]
    if kind == "array" and "items" not in vars(schema):
        schema.items = schema.items
        _pin(schema.items)
    elif kind == "object" and "properties" in schema and "properties" not in vars(schema):
        schema.properties = properties = schema.properties
        for name in properties._keys():  # noqa: SLF001 - etcd3-py's own way in
            setattr(properties, name, properties._get(name))  # noqa: SLF001
            _pin(getattr(properties, name))


def open_session(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Return the HTTP session that one client's transports share. Needs a running loop; the caller closes it."""
    connector = aiohttp.TCPConnector(limit=0, ssl=context or True, socket_factory=_watchful_socket)
    return aiohttp.ClientSession(connector=connector, timeout=_NO_TIMEOUT)


def _watchful_socket(address: Any) -> socket.socket:
    """A socket on which the kernel notices within about 25 s that the other side has gone without a word."""
    family, kind, protocol, *_ = address
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return sock


class Transport(etcd3.AioClient):
    """Calls to one endpoint. Every failure comes out as a `clusterd.etcd.errors` class; nothing is retried here."""

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        parts = urlsplit(endpoint)
        host = parts.hostname or ""
        # Past AioClient's own constructor: it would open a session of its own, with its own idea of TLS.
        BaseClient.__init__(
            self,
            host=f"[{host}]" if ":" in host else host,
            port=parts.port or 2379,
            protocol=parts.scheme,
            timeout=_NO_TIMEOUT,
            user_agent=f"clusterd/{__version__}",
        )
        self.api_spec = _spec(_ASSUMED_VERSION)
        self.session = session
        self.endpoint = endpoint
        self.slow = False  # whether the last call got no answer in time
        self.known = False  # whether version and cluster have been asked since the endpoint last failed
        self.introduction = asyncio.Lock()  # held while they are being asked

    def _retrieve_version(self) -> None:
        """Assume a version instead of asking for it: a constructor must not block the loop."""
        self._set_version(_ASSUMED_VERSION)

    async def detect_version(self) -> str:
        """Ask the server's version, needed for the paths of old servers, and return it."""
        async with self.failures("/version"), self._get(self._url("/version", prefix=False)) as response:
            body = await response.read()
        try:
            version = msgspec.json.decode(body, type=_Version).etcdserver
            self._set_version(version)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(f"{self.endpoint}: GET /version is not answered by etcd: check the endpoint") from error
        self._verify_version()
        self._get_prefix()
        return version

    async def unary(self, rpc: str, request: dict[str, Any], token: str | None = None) -> bytes:
        """Call `rpc`, a path such as `/kv/range`, and return the body of its answer."""
        async with self.failures(rpc), self._open(rpc, request, _headers(token)) as response:
            body: bytes = await response.read()
            self._raise_for(rpc, response.status, body)
            return body

    async def stream(self, rpc: str, request: dict[str, Any], token: str | None = None) -> Stream:
        """Open a streaming call; whoever opens it closes it.

        Asks the member to end the stream when it has lost its leader: else a partitioned one keeps it open, silent.
        """
        headers = {**_headers(token), "Grpc-Metadata-hasleader": "true"}
        async with self.failures(rpc):
            response: aiohttp.ClientResponse = await self._open(rpc, request, headers)
            try:
                if response.status >= 400:
                    self._raise_for(rpc, response.status, await response.read())
            except BaseException:
                response.close()
                raise
            return Stream(self, rpc, response)

    def _open(self, rpc: str, request: dict[str, Any], headers: dict[str, str]) -> Any:
        return self.call_rpc(rpc, request, raw=True, headers=headers)

    def _raise_for(self, rpc: str, status: int, body: bytes) -> None:
        """Raise the error that an answer carries; a streaming call's can come with status 200."""
        if status < 400 and not body.startswith(b'{"error"'):
            return
        where = f"{self.endpoint}{rpc}"
        if not body.lstrip().startswith(b"{"):
            raise _not_etcd(where, status, body)
        details = decode_error(body, where).details
        raise classify(
            details.message or details.error,
            details.code or details.grpc_code,
            details.http_code or status,
            where=where,
        )

    @contextlib.asynccontextmanager
    async def failures(self, rpc: str) -> AsyncIterator[None]:
        """Turn what aiohttp raises into our classes."""
        try:
            yield
        except EtcdError:
            raise
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise _explain(self.endpoint, rpc, error) from error

    def _encodeRPCRequest(self, method: str, data: dict[str, Any]) -> Any:  # noqa: N802 - etcd3-py's name for it
        schema = _request_schema(self.api_spec, method)
        return data if schema is None else schema.encode(data)

    def _set_version(self, version: str) -> None:
        self.server_version = self.cluster_version = version
        self.server_version_sem = self.cluster_version_sem = semantic_version.Version(version)


class Stream:
    """The body of a streaming call, chunk by chunk."""

    def __init__(self, transport: Transport, rpc: str, response: aiohttp.ClientResponse) -> None:
        self.endpoint = transport.endpoint
        self._transport = transport
        self._rpc = rpc
        self._response = response

    async def read(self) -> bytes:
        """Return the next chunk, never an empty one; raises `Unavailable` at the end and when the connection breaks."""
        async with self._transport.failures(self._rpc):
            chunk = await self._response.content.readany()
        if not chunk:
            raise Unavailable(f"{self.endpoint}{self._rpc}: etcd ended the stream")
        return chunk

    def close(self) -> None:
        """Close the stream with its connection."""
        self._response.close()


def _headers(token: str | None) -> dict[str, str]:
    return {"authorization": token} if token else {}


def _not_etcd(where: str, status: int, body: bytes) -> EtcdError:
    if b"HTTP request to an HTTPS server" in body:
        return TlsFailed(f"{where}: the endpoint speaks TLS: give it as https://")
    return Unavailable(f"{where}: HTTP {status} from something that is not etcd: check the endpoint")


def _explain(endpoint: str, rpc: str, error: Exception) -> EtcdError:
    """Say what a failure of the connection means, in words for the person who set the endpoint."""
    tls = _tls_reason(error)
    if tls is not None:
        return TlsFailed(f"{endpoint}: TLS failed: {tls}")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unavailable(f"{endpoint}: the host name can't be resolved: check the endpoint")
    if isinstance(error, aiohttp.ClientConnectorError):
        if error.os_error.errno in (errno.ECONNRESET, None):
            speaks = "does it speak TLS?" if endpoint.startswith("https:") else "is it etcd?"
            return Unavailable(f"{endpoint}: the connection was closed while it was set up: {speaks}")
        return Unavailable(f"{endpoint}: {os.strerror(error.os_error.errno).lower()}: is etcd running there?")
    return Unavailable(f"{endpoint}{rpc}: the connection broke ({type(error).__name__})")


def _tls_reason(error: BaseException | None) -> str | None:
    """Find the TLS error under what aiohttp raised; None where TLS isn't the trouble."""
    while error is not None:
        error = getattr(error, "certificate_error", error)
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"{error.verify_message.rstrip('.').lower()}: check the CA file and the host name"
        reason = getattr(error, "reason", None) if isinstance(error, ssl.SSLError) else None
        if reason:
            return f"{reason.replace('_', ' ').lower()}: check the certificates, and that the endpoint is https"
        error = error.__cause__ or getattr(error, "os_error", None)
    return None
