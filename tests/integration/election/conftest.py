"""Contenders for an office on a real etcd, each with a client of its own, as if on a machine of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from clusterd import Deposed, Election, Term
from clusterd.etcd.client import Client
from clusterd.etcd.options import EtcdOptions
from clusterd.keys import Keyspace
from clusterd.testing import EtcdServer, eventually

TTL = 2


class Contender:
    """Stands for an office in a task of its own, leads until told to leave, and keeps what happened."""

    def __init__(self, election: Election, *, on_lost: Any = "cancel") -> None:
        self.election = election
        self.term: Term | None = None
        self.deposed: Deposed | None = None
        self.began = self.stopped = 0.0
        self._leave = asyncio.Event()
        self._elected = asyncio.Event()
        self._on_lost = on_lost
        self.task = asyncio.create_task(self._stand(), name=f"contender {election.name}")

    async def elected(self, timeout: float = 10.0) -> Term:
        async with asyncio.timeout(timeout):
            await self._elected.wait()
        assert self.term is not None
        return self.term

    @property
    def leads(self) -> bool:
        return self.term is not None and not self.term.lost.is_set() and not self.task.done()

    async def leave(self) -> None:
        self._leave.set()
        await self.ended()

    async def ended(self, timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            await asyncio.wait([self.task])

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def _stand(self) -> None:
        try:
            async with self.election.lead(on_lost=self._on_lost) as term:
                self.term, self.began = term, time.monotonic()
                self._elected.set()
                try:
                    await self._leave.wait()
                finally:
                    self.stopped = time.monotonic()
        except Deposed as error:
            self.deposed = error


class Stage:
    """Makes clients, elections and contenders, and ends them all after the test."""

    def __init__(self, etcd: Any, stack: AsyncExitStack) -> None:
        self._etcd = etcd
        self._stack = stack
        self._count = 0

    async def client(self, etcd: str | None = None) -> Client:
        return await self._stack.enter_async_context(Client(EtcdOptions.of(etcd or self._etcd.endpoints)))

    async def election(self, name: str = "job", *, etcd: str | None = None, **options: Any) -> Election:
        self._count += 1
        settings = {"ttl": TTL, "value": f"c{self._count}", **options}
        return Election(await self.client(etcd), Keyspace(), name, **settings)

    async def contender(self, name: str = "job", *, on_lost: str = "cancel", **options: Any) -> Contender:
        contender = Contender(await self.election(name, **options), on_lost=on_lost)
        self._stack.push_async_callback(contender.close)
        return contender

    async def leader(self, name: str = "job", **options: Any) -> Contender:
        contender = await self.contender(name, **options)
        await contender.elected()
        return contender

    async def waiting(self, name: str = "job", **options: Any) -> Contender:
        """A contender whose key is in etcd, and who waits for its turn."""
        before = len(await self._etcd.admin.range(f"/elections/{name}/"))
        contender = await self.contender(name, **options)

        async def enrolled() -> bool:
            return len(await self._etcd.admin.range(f"/elections/{name}/")) > before

        await eventually(enrolled)
        return contender


@pytest.fixture
async def stage(etcd: EtcdServer) -> AsyncIterator[Stage]:
    """Contenders on a fresh etcd of one member."""
    async with AsyncExitStack() as stack:
        yield Stage(etcd, stack)


@pytest.fixture
async def grand_stage(etcd_cluster: Any) -> AsyncIterator[Stage]:
    """Contenders on a fresh etcd of three members."""
    async with AsyncExitStack() as stack:
        yield Stage(etcd_cluster, stack)


@pytest.fixture
def stage_on() -> Callable[[Any, AsyncExitStack], Stage]:
    """Make a stage on an etcd that the test set up by itself."""
    return Stage
