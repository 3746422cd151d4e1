"""Places that stand for endpoints, not for the wire: what etcd says is tested with real ones."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from clusterd.etcd.auth import TokenSource
from clusterd.etcd.endpoints import EndpointPool
from clusterd.etcd.errors import EtcdError, Unavailable
from clusterd.etcd.failover import Failover


class Place:
    """An endpoint of a cluster, which takes what it is told to take for an answer."""

    def __init__(self, endpoint: str, cluster_id: int = 3) -> None:
        self.endpoint = endpoint
        self.cluster_id = cluster_id
        self.known = False
        self.slow = False
        self.introduction = asyncio.Lock()
        self.introductions = 0
        self.error: EtcdError | None = None

    async def detect_version(self) -> str:
        self.introductions += 1
        if self.error is not None:
            raise self.error
        return "3.5.0"

    async def unary(self, rpc: str, *_: object) -> bytes:
        assert rpc == "/maintenance/status"
        return f'{{"header":{{"cluster_id":"{self.cluster_id}"}}}}'.encode()


class Cluster:
    """Places a, b, c in this order, and a failover over them."""

    def __init__(self, count: int = 3, login: Callable[[], Awaitable[str]] | None = None) -> None:
        names = [f"http://{name}:2379" for name in "abc"[:count]]
        pool = EndpointPool(names, random.Random(0))
        for name in names:
            pool.failed(name)
        self.places = [Place(name) for name in names]
        self.failover = Failover(pool, TokenSource(login))
        self.failover.transports = {place.endpoint: place for place in self.places}  # type: ignore[misc]
        self.asked: list[tuple[str, str | None]] = []

    @property
    def turns(self) -> str:
        """Who was asked, in order: `abc`."""
        return "".join(endpoint[7] for endpoint, _ in self.asked)

    async def attempt(self, place: Any, token: str | None) -> str:
        self.asked.append((place.endpoint, token))
        if place.error is not None:
            raise place.error
        return str(place.endpoint)

    async def run(self, seconds: float = 1.0, **options: Any) -> str:
        return await self.failover.run(self.attempt, seconds, **options)

    def fail(self, error: EtcdError, names: str = "abc") -> None:
        for place in self.places:
            if place.endpoint[7] in names:
                place.error = error


DOWN = Unavailable("down")
