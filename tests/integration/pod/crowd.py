"""Clients of the test gateway, who notice when a session is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Self


class Crowd:
    """So many sessions, each kept on one gateway until that asks it to move; an async context manager.

    `elsewhere` returns the address to move to. What was `moved`, `lost` (its connection ended unasked) and where the
    sessions are now (`at`) is counted.
    """

    def __init__(self, number: int, start: str, elsewhere: Callable[[], str]) -> None:
        self.moved = 0
        self.lost = 0
        self.at: Counter[str] = Counter()
        self._number = number
        self._start = start
        self._elsewhere = elsewhere
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        connections = [await self._connect(self._start) for _ in range(self._number)]
        self._tasks = [asyncio.create_task(self._session(self._start, *pair)) for pair in connections]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _session(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at[address] += 1
        try:
            while await reader.readline() == b"move\n":
                target = self._elsewhere()
                next_reader, next_writer = await self._connect(target)
                await _close(writer)
                self.at[address] -= 1
                self.at[target] += 1
                self.moved += 1
                address, reader, writer = target, next_reader, next_writer
            self.lost += 1
        except OSError:
            self.lost += 1
        finally:
            self.at[address] -= 1
            await _close(writer)

    async def _connect(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        if await reader.readline() != b"hello\n":
            await _close(writer)
            raise ConnectionError(f"{address} did not greet")
        return reader, writer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
