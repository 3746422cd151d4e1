"""The page in a real browser: two people at two nodes, or behind the router, and a node that is drained under one."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusterd.testing import AgentProcess, EtcdServer
from tests.conftest import missing
from tests.e2e.gateway.browser import Browser, Tab, find_chromium, running
from tests.e2e.gateway.conftest import ROOT, TTL, Town

MARKUP = '<img src="/nothing" onerror="window.broken = 1"><script>window.broken = 1</script>'


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A Chromium of its own."""
    chromium = find_chromium()
    if chromium is None:
        missing("this machine has no Chromium (Debian package chromium)")
        raise AssertionError("unreachable: missing() raises")
    directory = tmp_path / "chromium"
    directory.mkdir()
    async with running(chromium, directory) as browser:
        yield browser


def page_of(town: Town, node: str, user: str) -> str:
    clients, _ = town.ports(node)
    return f"http://127.0.0.1:{clients}/?user={user}"


async def talk(ann: Tab, bob: Tab, number: int) -> None:
    """Have each write to the room, and see what the other wrote."""
    for one, other, name in ((ann, bob, "ann"), (bob, ann, "bob")):
        await one.type("#text", f"{name} says {number}")
        await other.shows("#log", f"{name} says {number}")
        await one.shows("#log li:last-child small", "#")  # it is stored


async def test_two_people_at_two_nodes_go_on_when_one_is_drained(town: Town, browser: Browser, tmp_path: Path) -> None:
    await town.start("gw-1", "gw-2")
    ann = await browser.open(page_of(town, "gw-1", "ann"))
    bob = await browser.open(page_of(town, "gw-2", "bob"))
    await ann.shows("#state", "connected to gw-1")
    await bob.shows("#state", "connected to gw-2")
    await ann.shows("#presence", "2 here: ann, bob")
    await talk(ann, bob, 1)

    await ann.type("#text", MARKUP)
    await bob.shows("#log", MARKUP)
    assert await bob.evaluate("document.querySelectorAll('#log img, #log script').length") == 0

    await bob.type("#where", "@ann")
    await bob.type("#text", "for you alone")
    await ann.shows("#people .unread", "1")
    assert await ann.evaluate("document.title") == "(1) ann · clusterd gateway"
    await ann.click("#people button")
    await ann.shows("#log", "for you alone")
    assert not await ann.text(".unread")
    await bob.click("#rooms button")
    await ann.click("#rooms button")

    assert await town.nodes["gw-1"].terminate(30) == 0
    await ann.shows("#state", "connected to gw-2")
    await talk(ann, bob, 2)
    await ann.screenshot(tmp_path / "page.png")
    for tab in (ann, bob):
        assert await tab.evaluate("window.broken ?? 0") == 0
        assert not tab.complaints
        said = await tab.text("#log")
        assert [said.count(f"{name} says {number}") for name in ("ann", "bob") for number in (1, 2)] == [1] * 4


async def test_what_cannot_be_sent_is_one_line_and_a_second_tab_takes_over(town: Town, browser: Browser) -> None:
    await town.start("gw-1")
    ann = await browser.open(page_of(town, "gw-1", "ann"))
    await ann.shows("#state", "connected")
    await ann.type("#text", "x" * 70_000)
    await ann.shows("#error", "Not sent: it has more than 65536 bytes")
    await ann.type("#text", "short")
    await ann.shows("#log li:last-child small", "#1")
    assert await ann.evaluate("document.querySelector('#error').hidden")
    again = await browser.open(page_of(town, "gw-1", "ann"))
    await again.shows("#log", "short")
    await ann.shows("#state", "closed")
    await ann.shows("#error", "a newer session of this user has taken over, 4409. Reload")


async def test_behind_the_router_the_page_stays_there(town: Town, etcd: EtcdServer, browser: Browser) -> None:
    await town.start("gw-1", "gw-2")
    command = (sys.executable, "-m", "examples.router", "--listen", "127.0.0.1:0", "--ttl", str(TTL))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    async with AgentProcess("--etcd", etcd.endpoint, command=command, env=environment) as router:
        door = (await router.wait_for_line(r"listening on (\S+),"))[1]
        ann, bob = [await browser.open(f"{door}/?user={user}") for user in ("ann", "bob")]
        await ann.shows("#presence", "2 here: ann, bob")
        await talk(ann, bob, 1)
        node = (await ann.text("#state")).removeprefix("connected to ")
        assert await town.nodes[node].terminate(30) == 0
        await ann.shows("#state", f"connected to {'gw-2' if node == 'gw-1' else 'gw-1'}")
        await talk(ann, bob, 2)
        ways = {url.partition("?")[0] for tab in (ann, bob) for url in tab.sockets}
        assert ways == {door.replace("http", "ws") + "/ws"}
