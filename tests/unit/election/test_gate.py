"""A gate keeps candidates out, sends them out, and knows when the last one has left."""

from __future__ import annotations

import asyncio

import pytest

from clusterd import AgentStopped
from clusterd.election.gate import Gate


async def test_it_is_open_until_it_is_shut_and_then_says_why() -> None:
    gate = Gate()
    await gate.opened()
    leaving = asyncio.create_task(gate.left())
    await asyncio.sleep(0)
    assert not leaving.done()
    gate.shut("node gw-1 is draining")
    assert await leaving == "node gw-1 is draining"


async def test_who_waits_enters_when_it_opens_again() -> None:
    gate = Gate()
    gate.shut("not now")
    waiting = asyncio.create_task(gate.opened())
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.open()
    await waiting


async def test_closed_it_opens_no_more_and_gives_its_error_to_everybody() -> None:
    gate = Gate()
    gate.shut("not now")
    waiting = asyncio.create_task(gate.opened())
    await asyncio.sleep(0)
    gate.close(AgentStopped("it has stopped"))
    gate.open()
    for attempt in (waiting, gate.opened()):
        with pytest.raises(AgentStopped, match="it has stopped"):
            await attempt
    assert await gate.left() == "it has stopped"


async def test_it_is_empty_when_the_last_one_has_left() -> None:
    gate = Gate()
    with gate.inside():
        emptied = asyncio.create_task(gate.emptied())
        with gate.inside():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not emptied.done()
    await emptied
