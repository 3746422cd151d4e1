"""A gateway that knows clusterd by its control API alone: a session is a TCP connection.

python gateway.py PORT CONTROL_URL

It greets a session with `hello`, echoes what it says, and tells it `move` when it is to go elsewhere. It counts its
sessions for the daemon, and has as many move as the daemon says. On SIGTERM it ends, with what sessions it has.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator

import aiohttp

_AGAIN = 0.1
_COUNT_EVERY = 0.05


class Gateway:
    """The sessions, and which of them were asked to go."""

    def __init__(self) -> None:
        self.staying: list[asyncio.StreamWriter] = []
        self.leaving: set[asyncio.StreamWriter] = set()

    @property
    def count(self) -> int:
        return len(self.staying) + len(self.leaving)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one session until its client closes it."""
        self.staying.append(writer)
        try:
            writer.write(b"hello\n")
            while line := await reader.readline():
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            self.leaving.discard(writer)
            if writer in self.staying:
                self.staying.remove(writer)
            writer.close()

    def move(self, number: int | None) -> None:
        """Ask that many sessions to go elsewhere; all, for None."""
        for _ in range(len(self.staying) if number is None else min(number, len(self.staying))):
            writer = self.staying.pop()
            self.leaving.add(writer)
            writer.write(b"move\n")


async def report(gateway: Gateway, http: aiohttp.ClientSession) -> None:
    """Tell the daemon how many sessions there are, whenever that changes, and to a daemon that is new."""
    told: int | None = None
    while True:
        if gateway.count != told:
            try:
                now = gateway.count
                async with http.put("/v1/self/stats", json={"sessions": now}) as answer:
                    told = now if answer.ok else None
            except aiohttp.ClientError:
                told = None
        await asyncio.sleep(_COUNT_EVERY)


async def obey(gateway: Gateway, http: aiohttp.ClientSession) -> None:
    """Move what the daemon says, for ever."""
    while True:
        try:
            async with http.get("/v1/self/evictions", timeout=aiohttp.ClientTimeout(total=None)) as answer:
                answer.raise_for_status()
                async for event in events(answer.content):
                    if "close" in event:
                        gateway.move(event["close"])
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(_AGAIN)


async def events(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, int | None]]:
    async for line in stream:
        if line.startswith(b"data:"):
            yield json.loads(line.removeprefix(b"data:"))


async def main(port: int, control: str) -> None:
    gateway = Gateway()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(gateway.serve, "0.0.0.0", port)  # noqa: S104 - other containers connect
    async with aiohttp.ClientSession(control) as http:
        tasks = [asyncio.create_task(report(gateway, http)), asyncio.create_task(obey(gateway, http))]
        print("serving", flush=True)
        await stop.wait()
        print(f"ended with {gateway.count} sessions", flush=True)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
