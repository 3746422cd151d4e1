"""Every node's topology follows etcd: whole batches, nothing missed, nothing made up."""

from __future__ import annotations

import asyncio
import base64
import random
from typing import Any

from clusterd import Change, Node, SessionState
from clusterd.node import decode_node
from clusterd.testing import EtcdServer, TcpProxy, eventually, never


def record(node_id: str, state: str = "active") -> str:
    return f'{{"v":1,"id":"{node_id}","address":"10.1.0.1:80","state":"{state}"}}'


async def test_values_that_are_not_ours_are_shown_and_break_nobody(etcd: EtcdServer, fleet: Any) -> None:
    await etcd.admin.put("/nodes/node1", "active")
    agent = await fleet.agent()
    for key, value in {
        b"/nodes/not-json": b"{",
        b"/nodes/other-id": b'{"id":"somebody-else"}',
        b"/nodes/future-state": b'{"id":"future-state","address":"h:1","state":"paused"}',
        b"/nodes/\xff\xfe": b"\x00\x01",
        b"/nodes/a/b": b"",
        b"/nodes/": b"nobody",
        b"/nodes/huge": b"[" * 20_000,
        b"/nodes/deep": b'{"id":' + b"[" * 5_000,
    }.items():
        await etcd.admin.put(key, value)
    await etcd.admin.put("/nodes/ours", record("ours"))
    await agent.wait_for(await etcd.admin.revision())

    foreign = {node.id for node in agent.topology if node.foreign}
    assert foreign == {
        *("node1", "not-json", "other-id", "future-state"),
        *(r"\xff\xfe", "a/b", "", "huge", "deep"),
    }
    assert not any(node.routable for node in agent.topology if node.foreign)
    assert agent.topology.nodes["node1"].state == "active"
    assert agent.topology.nodes["ours"].address == "10.1.0.1:80"


async def test_what_one_transaction_did_arrives_as_one_change(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent()
    await etcd.admin.put("/nodes/a", record("a"))
    await agent.wait_for(await etcd.admin.revision())
    witness = await fleet.witness(agent)
    await etcd.admin.txn(
        {
            "success": [
                {"request_delete_range": {"key": base64.b64encode(b"/nodes/a").decode()}},
                *(
                    {
                        "request_put": {
                            "key": base64.b64encode(f"/nodes/{name}".encode()).decode(),
                            "value": base64.b64encode(record(name).encode()).decode(),
                        }
                    }
                    for name in ("b", "c")
                ),
            ]
        }
    )
    await agent.wait_for(await etcd.admin.revision())
    await eventually(lambda: witness.changes)
    (change,) = witness.changes
    assert [node.id for node in change.joined] == ["b", "c"]
    assert [node.id for node in change.left] == ["a"]
    assert change.revision == agent.topology.revision


async def test_the_barrier_passes_for_a_revision_that_changed_no_node(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent(ttl=60)
    revision = await etcd.admin.put("/elsewhere", "x")
    await asyncio.wait_for(agent.wait_for(revision), 5)


async def test_history_that_was_compacted_while_we_were_away_loses_no_delete(etcd: EtcdServer, fleet: Any) -> None:
    await etcd.admin.put("/nodes/old", record("old"))
    async with TcpProxy(etcd.endpoint) as proxy:
        agent = await fleet.agent(ttl=30, etcd=proxy.endpoint)
        witness = await fleet.witness(agent)
        await proxy.refuse()
        proxy.reset()
        await etcd.admin.delete("/nodes/old")
        await etcd.admin.put("/nodes/new", record("new"))
        await etcd.compact()
        await proxy.heal()
        await eventually(lambda: "new" in agent.topology)
        await eventually(lambda: (witness.joined, witness.left) == (["new"], ["old"]))
        await agent.__aexit__(None, None, None)


async def test_a_delete_missed_during_an_outage_shows_one_ttl_after_it(etcd: EtcdServer, fleet: Any) -> None:
    """Nobody can tell a node that left from one whose lease etcd could not renew, until that had time to return."""
    await etcd.admin.put("/nodes/old", record("old"))
    agent = await fleet.agent(ttl=4)
    witness = await fleet.witness(agent)
    etcd.pause()
    await agent.session.wait_for(SessionState.LOST)
    etcd.resume()
    await eventually(lambda: not agent.topology.stale)
    await etcd.admin.delete("/nodes/old")
    await eventually(lambda: agent.topology.nodes["old"].unconfirmed)
    assert witness.left == []
    await eventually(lambda: "old" not in agent.topology, timeout=8)


async def test_a_watch_that_is_dead_without_a_sign_is_found_out(etcd: EtcdServer, fleet: Any) -> None:
    async with TcpProxy(etcd.endpoint) as proxy:
        agent = await fleet.agent(ttl=4, etcd=proxy.endpoint)
        proxy.half_open()
        await etcd.admin.put("/nodes/new", record("new"))
        await eventually(lambda: "new" in agent.topology, timeout=20)
        assert not agent.topology.stale
        await agent.__aexit__(None, None, None)


async def test_a_network_that_swallows_everything_is_noticed_without_tcp(etcd: EtcdServer, fleet: Any) -> None:
    async with TcpProxy(etcd.endpoint) as proxy:
        agent = await fleet.agent(ttl=3, etcd=proxy.endpoint)
        proxy.drop()
        await asyncio.wait_for(agent.session.wait_for(SessionState.SUSPENDED), 3)
        await asyncio.wait_for(agent.session.wait_for(SessionState.LOST), 4)
        assert agent.topology.stale
        assert agent.node.id in agent.topology
        await proxy.heal()
        await asyncio.wait_for(agent.session.wait_for(SessionState.CONNECTED), 10)
        await eventually(lambda: not agent.topology.stale)
        await agent.__aexit__(None, None, None)


async def test_a_reader_that_falls_behind_gets_what_it_missed_as_one_change(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent()
    changes = agent._mirror._feed.subscribe(limit=4)
    for number in range(12):
        await etcd.admin.put(f"/nodes/n{number:02}", record(f"n{number:02}"))
    await etcd.admin.delete("/nodes/n00")
    await agent.wait_for(await etcd.admin.revision())
    seen: dict[str, Node] = {}
    async with asyncio.timeout(5):
        while len(seen) < 11 or "n00" in seen:
            apply(await anext(changes), seen)
    assert sorted(seen) == [f"n{number:02}" for number in range(1, 12)]


async def test_a_thousand_keys_that_come_and_go_are_the_same_for_every_watcher(etcd: EtcdServer, fleet: Any) -> None:
    """The changes that each watcher saw, applied one by one, give what a fresh list gives."""
    rng = random.Random(20_261_123)
    agents = await fleet.agents(3, ttl=10)
    seen: list[dict[str, Node]] = [dict(agent.topology.nodes) for agent in agents]
    readers = [asyncio.create_task(follow(agent.changes(), nodes)) for agent, nodes in zip(agents, seen, strict=True)]
    await asyncio.sleep(0)
    names = [f"node-{number:04}" for number in range(1000)]
    for start in range(0, 1000, 100):
        await put_all(etcd, names[start : start + 100])
    for _ in range(300):
        name = rng.choice(names)
        await (etcd.admin.delete(f"/nodes/{name}") if rng.random() < 0.5 else put_all(etcd, [name]))
        if rng.random() < 0.01:
            await etcd.restart()
    revision = await etcd.admin.revision()
    for agent in agents:
        await agent.wait_for(revision)

    stored = await etcd.admin.range("/nodes/")
    fresh = {
        kv.key.decode().removeprefix("/nodes/"): decode_node(
            kv.key.decode().removeprefix("/nodes/"), kv.value, lease=kv.lease, mod_revision=kv.mod_revision
        )
        for kv in stored
    }
    for agent, nodes in zip(agents, seen, strict=True):
        assert dict(agent.topology.nodes) == fresh
        await eventually(lambda nodes=nodes: nodes == fresh, what="the changes add up to the topology")
    for reader in readers:
        reader.cancel()
    await asyncio.wait(readers)


async def put_all(etcd: EtcdServer, names: list[str]) -> None:
    await etcd.admin.txn(
        {
            "success": [
                {
                    "request_put": {
                        "key": base64.b64encode(f"/nodes/{name}".encode()).decode(),
                        "value": base64.b64encode(record(name).encode()).decode(),
                    }
                }
                for name in names
            ]
        }
    )


async def follow(changes: Any, nodes: dict[str, Node]) -> None:
    async for change in changes:
        apply(change, nodes)


def apply(change: Change, nodes: dict[str, Node]) -> None:
    for node in change.left:
        del nodes[node.id]
    for node in change.joined:
        assert node.id not in nodes
        nodes[node.id] = node
    for update in change.updated:
        assert nodes[update.before.id] == update.before
        nodes[update.after.id] = update.after


async def test_the_changes_end_with_the_agent(fleet: Any) -> None:
    async with fleet.new() as agent:
        changes = agent.changes()
    assert [change async for change in changes] == []


async def test_a_paused_watcher_marks_what_it_holds_stale_and_catches_up(etcd: EtcdServer, fleet: Any) -> None:
    agent = await fleet.agent()
    witness = await fleet.witness(agent)
    etcd.pause()
    await eventually(lambda: agent.topology.stale, timeout=5)
    assert agent.node.id in agent.topology
    await never(lambda: len(agent.topology) == 0, 2, what="an empty topology")
    etcd.resume()
    await eventually(lambda: not agent.topology.stale)
    assert witness.left == []
