"""What the example gateway costs: CPU for each delivery of a broadcast, and for each message from user to user.

`python -m bench.gateway [--clients 1000]`. The gateway is a process of its own; its CPU time is read from /proc before
and after, so that other work on the machine shows less. The clients here count bytes and decode nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console
from rich.table import Table

from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.etcd.process import free_ports
from clusterd.testing import AgentProcess

_TICKS = os.sysconf("SC_CLK_TCK")
_UPGRADE = (
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_BODY = "x" * 128


class Client(asyncio.Protocol):
    """A raw client: masks with zeros, counts what it gets."""

    def __init__(self) -> None:
        self.bytes = 0
        self.tail = b""
        self.watched: Callable[[bytes], None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(_UPGRADE.encode())

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)
        self.tail = data
        if self.watched:
            self.watched(data)

    def say(self, **frame: Any) -> None:
        self.transport.write(masked(json.dumps(frame).encode()))


def masked(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Rig:
    """One gateway process, and clients."""

    def __init__(self, port: int, process: AgentProcess) -> None:
        self.port = port
        self.pid = process.pid

    async def connect(self, users: list[str], *rooms: str) -> list[Client]:
        loop = asyncio.get_running_loop()
        clients: list[Client] = []
        for start in range(0, len(users), 200):
            made = [loop.create_connection(Client, "127.0.0.1", self.port) for _ in users[start : start + 200]]
            clients += [client for _, client in await asyncio.gather(*made)]
        for user, client in zip(users, clients, strict=True):
            client.say(t="hello", user=user)
            for room in rooms:
                client.say(t="join", room=room)
        await quiet(clients)
        return clients

    async def measured(self, work: Awaitable[tuple[int, float]]) -> dict[str, float]:
        """Return CPU microseconds for each of the things done, and how many a second they were."""
        before, began = cpu(self.pid), time.perf_counter()
        count, waited = await work
        took, used = time.perf_counter() - began - waited, cpu(self.pid) - before
        return {"cpu_us": used / count * 1e6, "per_second": count / took}


async def quiet(clients: list[Client], seconds: float = 0.5) -> float:
    """Wait until nothing has come for so long, and return that."""
    before = -1
    while (now := sum(client.bytes for client in clients)) != before:
        before = now
        await asyncio.sleep(seconds)
    return seconds


async def broadcast(speaker: Client, clients: list[Client], messages: int, ahead: int) -> tuple[int, float]:
    """Say so many things to a room, `ahead` at a time; returns how many deliveries there were, and seconds waited."""
    answered, wake = 0, asyncio.Event()

    def count(data: bytes) -> None:
        nonlocal answered
        answered += data.count(b'"t":"ok"')
        wake.set()

    speaker.watched = count
    for number in range(messages):
        while number - answered >= ahead:
            wake.clear()
            await wake.wait()
        speaker.say(t="send", id=f"{time.monotonic_ns()}", to="room:bench", body=_BODY)
    while answered < messages:
        wake.clear()
        await wake.wait()
    return messages * len(clients), await quiet(clients, 0.1)


async def unicast(clients: list[Client], users: list[str], seconds: float, window: int) -> tuple[int, float]:
    """Have all write to the next one, `window` at a time, and ack what comes; returns messages and seconds waited."""
    stored, stop = 0, False
    ids = iter(range(10**9))

    def pump(index: int) -> Callable[[bytes], None]:
        client, to = clients[index], f"user:{users[(index + 1) % len(users)]}"

        def heard(data: bytes) -> None:
            nonlocal stored
            done, came = data.count(b'"t":"ok"'), data.rfind(b'"t":"msg"')
            stored += done
            if came >= 0:
                fields = data[came:].split(b",", 4)
                client.say(t="ack", e=fields[2][5:-1].decode(), n=int(fields[3][4:]))
            if not stop:
                for _ in range(done):
                    client.say(t="send", id=str(next(ids)), to=to, body=_BODY)

        return heard

    for index, client in enumerate(clients):
        client.watched = pump(index)
        for _ in range(window):
            client.say(t="send", id=str(next(ids)), to=f"user:{users[(index + 1) % len(users)]}", body=_BODY)
    await asyncio.sleep(seconds)
    stop = True
    return stored, await quiet(clients)


@asynccontextmanager
async def gateway(etcd: str, directory: Path, node: str, *flags: str) -> AsyncIterator[Rig]:
    (port,) = free_ports(1)
    secret = directory / "secret"
    secret.write_text("for the bench alone")
    command = (sys.executable, "-m", "examples.gateway", "node")
    arguments = (
        "--node",
        node,
        "--etcd",
        etcd,
        "--port",
        str(port),
        "--secret-file",
        str(secret),
        "--prefix",
        f"/{node}/",
    )
    async with AgentProcess(*arguments, "--log", str(directory / f"{node}.db"), *flags, command=command) as process:
        await process.wait_for_line("takes clients at", 20)
        yield Rig(port, process)


async def rounds(clients: int, messages: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Measure each figure so many times, one after the other, over and over."""
    found: dict[str, list[dict[str, float]]] = {}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        etcd = await stack.enter_async_context(EmbeddedEtcd())
        rig = await stack.enter_async_context(gateway(etcd.endpoint, directory, "gw-1", "--fsync", "never"))
        empty = memory(rig.pid)
        room = await rig.connect([f"r{number}" for number in range(clients)], "bench")
        found["KiB a connection"] = [{"value": (memory(rig.pid) - empty) / clients / 1024}]
        (speaker,) = await rig.connect(["speaker"])
        users = [f"u{number}" for number in range(200)]
        people = await rig.connect(users)
        for _ in range(repeats):
            for name, work in (
                ("broadcast, one at a time", broadcast(speaker, room, messages, 1)),
                ("broadcast, 64 ahead", broadcast(speaker, room, messages * 5, 64)),
                ("unicast, stored and acked", unicast(people, users, 3.0, 4)),
            ):
                found.setdefault(name, []).append(await rig.measured(work))
        found["KiB a connection, after load"] = [{"value": (memory(rig.pid) - empty) / clients / 1024}]
        for client in (*room, *people, speaker):
            client.transport.abort()
    return found


def report(found: dict[str, list[dict[str, float]]]) -> None:
    table = Table("", "CPU µs each", "each second", title="medians")
    for name, runs in found.items():
        if "value" in runs[0]:
            table.add_row(name, f"{runs[0]['value']:.1f}", "")
        else:
            table.add_row(
                name,
                f"{statistics.median(run['cpu_us'] for run in runs):.2f}",
                f"{statistics.median(run['per_second'] for run in runs):,.0f}",
            )
    Console().print(table)


@click.command()
@click.option("--clients", default=1000, show_default=True)
@click.option("--messages", default=100, show_default=True)
@click.option("--repeats", default=3, show_default=True)
def main(clients: int, messages: int, repeats: int) -> None:
    """Measure, and print medians."""
    wanted = clients + 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted * 2, hard), hard))
    report(uvloop.run(rounds(clients, messages, repeats)))


if __name__ == "__main__":
    main()
