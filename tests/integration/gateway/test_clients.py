"""What clients may say, and what they get for it."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from clusterd.aio import beside
from clusterd.testing import eventually
from examples.gateway.client import Closed, SendRejected
from examples.gateway.janitor import Retention
from examples.gateway.log import Limits
from examples.gateway.protocol import MAX_FRAME, Cursor
from examples.gateway.reception import token_of
from tests.integration.gateway.conftest import Yard, url_of


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        '{"t":"fly"}',
        '{"t":"join","room":"lobby"}',
        '{"t":"hello","user":"ann","extra":1}',
        '{"t":"hello","user":""}',
        '{"t":"hello","user":"a b"}',
        '{"t":"hello","user":"ann","resume":{"user:bob":["e",1]}}',
    ],
)
async def test_what_is_not_the_protocol_ends_the_session(yard: Yard, text: str) -> None:
    socket = await yard.socket(await yard.gateway())
    await socket.raw.send_str(text)
    assert await socket.closed() == 4400


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "send", "id": "", "to": "user:bob", "body": 1},
        {"t": "send", "id": "1", "to": "bob", "body": 1},
        {"t": "send", "id": "1", "to": "user:b/b", "body": 1},
        {"t": "send", "id": "1", "to": "user:bob", "body": "x" * 70_000},
        {"t": "join", "room": "a:b"},
        {"t": "who", "of": "everybody"},
        {"t": "hello", "user": "ann"},
    ],
)
async def test_what_cannot_be_done_ends_the_session(yard: Yard, frame: dict[str, Any]) -> None:
    socket = await yard.socket(await yard.gateway(), "ann")
    await socket.say(**frame)
    assert await socket.closed() == 4400


async def test_frames_in_pieces_and_pings(yard: Yard) -> None:
    gateway = await yard.gateway()
    socket = await yard.socket(gateway, "ann")
    await socket.raw.ping(b"?")
    assert (await socket.raw.receive()).type is aiohttp.WSMsgType.PONG
    for head, part in ((0x01, b'{"t":"who"'), (0x00, b',"of":'), (0x80, b'"user:ann"}')):
        socket.send_raw(head, part)
    assert (await socket.hear("here"))["of"] == "user:ann"


async def test_a_token_says_who_one_is(yard: Yard) -> None:
    gateway = await yard.gateway(user_secret=b"user secret")
    await yard.client(gateway, "ann", token=token_of("ann", b"user secret"))
    socket = await yard.socket(gateway)
    await socket.say(t="hello", user="ann", token=token_of("bob", b"user secret"))
    assert await socket.closed() == 4401


async def test_what_came_meanwhile_is_there_when_a_client_comes_back(yard: Yard) -> None:
    gateway = await yard.gateway()
    ann, bob = await yard.client(gateway, "ann", "lobby"), await yard.client(gateway, "bob", "lobby")
    await bob.send("user:ann", 1)
    await bob.send("room:lobby", 2)
    inbox = aiter(ann)
    assert [(await anext(inbox)).body, (await anext(inbox)).body] == [1, 2]
    await ann.lose_connection()
    await bob.send("room:lobby", 3)
    await bob.send("user:ann", 4)
    assert {(await anext(inbox)).body, (await anext(inbox)).body} == {3, 4}
    await eventually(lambda: ann.connections == 2)


async def test_a_mailbox_is_resent_until_it_is_acked(yard: Yard) -> None:
    gateway = await yard.gateway()
    bob = await yard.client(gateway, "bob")
    for number in (1, 2, 3):
        await bob.send("user:ann", number)
    first = await yard.socket(gateway, "ann")
    got = [await first.hear("msg") for _ in range(3)]
    await first.say(t="ack", e=got[0]["e"], n=got[0]["n"])
    await first.say(t="who", of="user:ann")  # behind the ack
    await first.hear("here")
    await first.raw.close()
    again = await yard.socket(gateway, "ann")
    assert [(await again.hear("msg"))["body"] for _ in range(2)] == [2, 3]
    resumed = await yard.socket(gateway, "ann", resume={"user:ann": [got[1]["e"], got[1]["n"]]})
    assert (await resumed.hear("msg"))["body"] == 3


async def test_the_same_id_is_stored_once(yard: Yard) -> None:
    gateway = await yard.gateway()
    socket = await yard.socket(gateway, "bob")
    for _ in range(2):
        await socket.say(t="send", id="one", to="user:ann", body="hi")
        assert await socket.hear("ok") == {"t": "ok", "id": "one", "n": 1}
    await socket.say(t="send", id="two", to="user:ann", body="hi")
    assert (await socket.hear("ok"))["n"] == 2


async def test_ids_of_different_senders_are_different_ids(yard: Yard) -> None:
    gateway = await yard.gateway()
    for number, name in enumerate(("bob", "cid"), 1):
        socket = await yard.socket(gateway, name)
        await socket.say(t="send", id="one", to="user:ann", body="hi")
        assert (await socket.hear("ok"))["n"] == number


async def test_a_full_mailbox_is_said_to_be_full(yard: Yard) -> None:
    bob = await yard.client(await yard.gateway(limits=Limits(mailbox=2)), "bob")
    await bob.send("user:ann", 1)
    await bob.send("user:ann", 2)
    with pytest.raises(SendRejected, match="full"):
        await bob.send("user:ann", 3)


async def test_what_cannot_be_sent_is_refused_here_and_the_session_goes_on(yard: Yard) -> None:
    bob = await yard.client(await yard.gateway(), "bob")
    with pytest.raises(SendRejected, match="at most"):
        await bob.send("user:ann", "x" * MAX_FRAME)
    with pytest.raises(SendRejected, match="neither"):
        await bob.send("ann", 1)
    assert await bob.send("user:ann", 1) == 1
    assert bob.connections == 1


async def test_a_body_that_no_program_can_read_keeps_nothing_from_coming(yard: Yard) -> None:
    gateway = await yard.gateway()
    bob = await yard.socket(gateway, "bob")
    ann = await yard.client(gateway, "ann")
    for id_, body in (("1", "1e999"), ("2", "9" * 5_000), ("3", '"after"')):
        await bob.raw.send_str('{"t":"send","id":"' + id_ + '","to":"user:ann","body":' + body + "}")
    async with asyncio.timeout(10):
        assert (await anext(aiter(ann))).body == "after"
    assert ann.connections == 1


async def test_a_newer_session_takes_over_also_on_another_node(yard: Yard) -> None:
    one, other = await yard.pair()
    first, second = await yard.socket(one, "ann"), await yard.socket(one, "ann")
    assert await first.closed() == 4409
    third = await yard.socket(other, "ann")
    assert await second.closed() == 4409
    await third.say(t="send", id="1", to="user:ann", body="me")
    assert (await third.hear("msg"))["body"] == "me"


async def test_a_client_that_was_taken_over_stays_away(yard: Yard) -> None:
    gateway = await yard.gateway()
    ann = await yard.client(gateway, "ann")
    await yard.socket(gateway, "ann")
    with pytest.raises(Closed):
        await anext(aiter(ann))


async def test_presence_is_told_across_nodes(yard: Yard) -> None:
    one, other = await yard.pair()
    ann = await yard.socket(one, "ann")
    await ann.say(t="join", room="lobby")
    await ann.hear("joined")
    bob = await yard.socket(other, "bob")
    await bob.say(t="join", room="lobby")
    await bob.hear("joined")
    while "bob" not in (told := await ann.hear("presence"))["came"]:
        pass
    assert told["count"] == 2
    await ann.say(t="who", of="room:lobby")
    assert sorted((await ann.hear("here"))["users"]) == ["ann", "bob"]
    await bob.raw.close()
    while "bob" not in (told := await ann.hear("presence"))["left"]:
        pass

    async def bob_is_away() -> bool:
        await ann.say(t="who", of="user:bob")
        return (await ann.hear("here"))["count"] == 0

    await eventually(bob_is_away)


async def test_a_node_that_listed_the_fleet_later_than_it_changed_is_served_as_any_other(yard: Yard) -> None:
    """Its topology has a revision that no change ever brings to the others."""
    one, other = await yard.pair()
    revision = await yard.etcd.admin.put("/elsewhere", "x")
    assert revision > one.fleet.topology.revision
    topology = other.fleet.topology
    other.fleet.take(topology.evolve([], [], revision, cluster_id=topology.cluster_id))
    for user in ("ann", "bob", "cid", "dot"):
        client = await yard.client(other, user, user)
        assert await client.send(f"user:{user}", 1) == 1


async def test_a_room_can_be_read_from_its_beginning(yard: Yard) -> None:
    gateway = await yard.gateway()
    bob = await yard.client(gateway, "bob")
    for number in range(450):  # several pages
        await bob.send("room:news", number)
    ann = await yard.socket(gateway, "ann")
    await ann.say(t="join", room="news", after=["", 0])
    assert [(await ann.hear("msg"))["body"] for _ in range(450)] == list(range(450))


async def test_who_reads_slowly_delays_nobody_and_gets_all_in_the_end(yard: Yard) -> None:
    gateway = await yard.gateway()
    slow = await yard.socket(gateway, "slow")
    await slow.say(t="join", room="lobby")
    await slow.hear("joined")
    slow.transport.pause_reading()
    swift, bob = await yard.client(gateway, "swift", "lobby"), await yard.client(gateway, "bob")
    inbox = aiter(swift)
    for number in range(200):
        await bob.send("room:lobby", [number, "x" * 60_000])
        async with asyncio.timeout(5):
            assert (await anext(inbox)).body[0] == number
    connection = gateway.reception.sessions["slow"]
    assert connection.paused
    assert connection.waiting < 1_000_000  # of 12 MB
    slow.transport.resume_reading()
    assert [(await slow.hear("msg"))["body"][0] for _ in range(200)] == list(range(200))


async def test_what_is_too_old_is_expired_by_the_leader(yard: Yard) -> None:
    one, other = await yard.pair(retention=Retention(messages=0.2, ids=0.2, every=0.1))
    bob = await yard.client(one, "bob")
    for number in range(20):
        await bob.send(f"user:u{number}", "hi")
    logs = [gateway.messages for gateway in (one, other)]

    async def all_gone() -> bool:
        pages = [await log.read(stream, Cursor(), 0) for log in logs for stream in await log.streams()]
        return bool(pages) and not any(page.entries for page in pages)

    await eventually(all_gone, what="empty mailboxes on both nodes")


async def test_the_page_is_served(yard: Yard) -> None:
    gateway = await yard.gateway()
    base = url_of(gateway)[:-3].replace("ws:", "http:")
    async with aiohttp.ClientSession() as http:
        async with http.get(base + "/") as page:
            assert "page.js" in await page.text()
            assert "unsafe" not in page.headers["Content-Security-Policy"]
        for name, kind in (("page.js", "text/javascript"), ("gateway.js", "text/javascript"), ("page.css", "text/css")):
            async with http.get(f"{base}/{name}") as file:
                assert (file.status, file.content_type) == (200, kind)
        async with http.get(base + "/../etc/passwd") as nothing:
            assert nothing.status == 404


async def test_a_drained_node_sends_its_clients_elsewhere(yard: Yard) -> None:
    one, other = await yard.pair()
    ann = await yard.socket(one, "ann")
    await ann.say(t="join", room="lobby")
    await ann.say(t="send", id="1", to="user:ann", body="unacked")
    await ann.hear("msg")
    async with beside(one.drain(5.0), name="drain") as drain:
        assert (await ann.hear("bye"))["to"] == [url_of(other)]
        assert await ann.closed() == 1012
        await drain
    again = await yard.socket(other, "ann")
    assert (await again.hear("msg"))["body"] == "unacked"
    assert await one.messages.streams() == []
