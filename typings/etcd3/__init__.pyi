"""Types for the part of etcd3-py that clusterd uses (the package carries none)."""

from typing import Any

import aiohttp
import semantic_version

from etcd3.baseclient import BaseClient

class AioClient(BaseClient):
    host: str
    port: int
    protocol: str
    token: str | None
    timeout: Any
    headers: dict[str, str]
    session: aiohttp.ClientSession
    ssl_context: Any
    api_prefix: str
    api_spec: Any
    server_version: str
    cluster_version: str
    server_version_sem: semantic_version.Version
    cluster_version_sem: semantic_version.Version
    def __init__(
        self,
        host: str = ...,
        port: int = ...,
        protocol: str = ...,
        *,
        timeout: Any = ...,
        user_agent: str | None = ...,
    ) -> None: ...
    async def close(self) -> None: ...
    def call_rpc(
        self,
        method: str,
        data: Any = ...,
        stream: bool = ...,
        encode: bool = ...,
        raw: bool = ...,
        *,
        headers: dict[str, str] = ...,
    ) -> Any: ...
    def range(self, key: bytes, range_end: bytes | None = ..., **options: Any) -> Any: ...
    def put(self, key: bytes, value: bytes, lease: int = ..., **options: Any) -> Any: ...
    def delete_range(self, key: bytes, range_end: bytes | None = ..., **options: Any) -> Any: ...
    def _retrieve_version(self) -> None: ...
    def _verify_version(self) -> None: ...
    def _get_prefix(self) -> None: ...
    def _url(self, method: str, prefix: bool = ...) -> str: ...
    def _get(self, url: str, **kwargs: Any) -> Any: ...
