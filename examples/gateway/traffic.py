"""People who write to each other through the gateway, with a ledger of it: load that can prove what it says."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress

import click

from clusterd.aio import beside, run_together
from examples.gateway.client import GatewayClient
from examples.gateway.ledger import Ledger

ROOM = "square"
_TELL_SECONDS = 0.2
_POLL_SECONDS = 0.05


class Person:
    """A client with a program behind it: everything that it says and gets goes into the ledger."""

    def __init__(self, client: GatewayClient, ledger: Ledger) -> None:
        self.client = client
        self._ledger = ledger

    async def listen(self) -> None:
        """Take what comes, for ever."""
        async for message in self.client:
            self._ledger.hear(self.client.user, message.body)

    async def say(self, to: str, text: str, readers: Sequence[str]) -> None:
        """Send a text to a stream, and wait until it is stored."""
        self._ledger.say(text, list(readers))
        await self.client.send(to, text)
        self._ledger.stored += 1


class Crowd:
    """People in one room who write to each other and, each fourth time, to all."""

    def __init__(self, ledger: Ledger, people: dict[str, Person], room: str = ROOM) -> None:
        self._ledger = ledger
        self._people = people
        self._room = room
        self._numbers = itertools.count()

    async def chatter(self, stop: asyncio.Event, pause: float) -> None:
        """Write until told to stop: each waits for the answer, and then a pause."""
        await run_together(**{f"{name} writes": self._chat(name, stop, pause) for name in self._people})

    async def _chat(self, name: str, stop: asyncio.Event, pause: float) -> None:
        names = list(self._people)
        for number in itertools.count():
            if stop.is_set():
                return
            text = f"{name} {next(self._numbers)}"
            if number % 4 == 3:
                await self._people[name].say(f"room:{self._room}", text, names)
            else:
                other = names[(names.index(name) + number) % len(names)]
                await self._people[name].say(f"user:{other}", text, [other])
            await asyncio.sleep(pause)


async def run_traffic(urls: Sequence[str], people: int, pause: float, settle: float, stop: asyncio.Event) -> Ledger:
    """Have people write until `stop`, and return the ledger when all has come, or after `settle` more seconds.

    Tells on stdout, a line of JSON five times a second, what the ledger has.
    """
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        crowd = {name: await _come_in(stack, name, urls, ledger) for name in _names(people)}
        await stack.enter_async_context(beside(_tell(ledger, crowd), name="traffic figures"))
        await _until(lambda: all(person.client.in_room(ROOM) for person in crowd.values()))
        async with beside(Crowd(ledger, crowd).chatter(stop, pause), name="traffic") as writing:
            await stop.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(settle):
                    await _until(lambda: writing.done() and not ledger.lost)
        await asyncio.sleep(_TELL_SECONDS)  # what comes twice comes after
    return ledger


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - what is asked changes in many places
        await asyncio.sleep(_POLL_SECONDS)


async def _come_in(stack: AsyncExitStack, name: str, urls: Sequence[str], ledger: Ledger) -> Person:
    person = Person(await stack.enter_async_context(GatewayClient(urls, name, rooms=[ROOM])), ledger)
    await stack.enter_async_context(beside(person.listen(), name=f"{name} listens"))
    return person


async def _tell(ledger: Ledger, crowd: dict[str, Person]) -> None:
    while True:
        clients = [person.client for person in crowd.values()]
        moved = sum(client.connections - 1 for client in clients if client.connections)
        click.echo(json.dumps({**ledger.figures(), "reconnected": moved}))
        await asyncio.sleep(_TELL_SECONDS)


def _names(count: int) -> list[str]:
    return [f"p{number:02d}" for number in range(1, count + 1)]
