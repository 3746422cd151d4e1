"""Following the fleet by a stream: nothing is missed, whatever happens to etcd, the daemon or the client."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from clusterd.testing import TcpProxy, eventually


async def test_a_stream_begins_with_all_nodes_and_goes_on_with_what_changes(site: Any) -> None:
    daemon = await site.daemon()
    async with daemon.control.events("/v1/watch") as events:
        first = await events.next()
        assert (first.name, first.id) == ("snapshot", str(first.data["revision"]))
        assert [node["id"] for node in first.data["nodes"]] == ["gw-1"]
        revision = await site.put("gw-2")
        change = await events.next()
        assert (change.name, change.id, change.data["revision"]) == ("change", str(revision), revision)
        assert [node["id"] for node in change.data["joined"]] == ["gw-2"]
        await site.put("gw-2", weight=7)
        assert [node["weight"] for node in (await events.next()).data["updated"]] == [7]
        await site.etcd.admin.delete("/nodes/gw-2")
        assert (await events.next()).data["left"] == ["gw-2"]


async def test_who_comes_back_gets_what_it_missed_and_nothing_else(site: Any, follower: Any) -> None:
    daemon, gateway = await site.daemon(), follower()
    async with daemon.control.events("/v1/watch") as events:
        gateway.take(await events.next())
    for number in range(5):
        await site.put(f"other-{number}")
    await eventually(lambda: caught_up(daemon, site))
    async with daemon.control.events("/v1/watch", last=gateway.last_id) as events:
        await gateway.follow(events, site)
    assert gateway.seen == ["snapshot", *["change"] * 5]
    async with daemon.control.events("/v1/watch", last=gateway.last_id) as events:
        await site.put("last")
        await gateway.follow(events, site)
    assert gateway.seen[6:] == ["change"]


async def test_who_comes_from_somewhere_unknown_starts_over(site: Any) -> None:
    daemon = await site.daemon()
    for last in ("999999", "7-abc", "", "ä"):
        async with daemon.control.events("/v1/watch", last=last) as events:
            assert (await events.next()).name == "reset"
            assert (await events.next()).name == "snapshot"


async def test_nothing_is_missed_across_a_restart_of_etcd_and_a_compaction(site: Any, follower: Any) -> None:
    async with TcpProxy(site.etcd.endpoint) as proxy:
        daemon, gateway = await site.daemon(etcd=proxy.endpoint), follower()
        await site.put("gw-2")
        await site.put("gw-3")
        async with daemon.control.events("/v1/watch") as events:
            await gateway.follow(events, site)
        await site.etcd.stop()
        async with daemon.control.events("/v1/watch", last=gateway.last_id) as events:
            gateway.take(await events.next())  # stale
        await proxy.refuse()
        await site.etcd.start()
        await site.etcd.admin.delete("/nodes/gw-2")
        await site.put("gw-4")
        await site.etcd.compact()
        async with daemon.control.events("/v1/watch", last=gateway.last_id) as events:
            await proxy.heal()
            await gateway.follow(events, site)
            await site.put("gw-5")
            await gateway.follow(events, site)
        assert "gw-2" not in gateway.nodes
        assert "reset" not in gateway.seen


async def test_an_etcd_that_was_set_up_anew_is_a_reset(site: Any, follower: Any) -> None:
    daemon, gateway = await site.daemon(), follower()
    await site.put("gw-2")
    async with daemon.control.events("/v1/watch") as events:
        await gateway.follow(events, site)
        before = gateway.last_id
        await site.etcd.wipe(new_cluster_id=True)
        while "reset" not in gateway.seen:
            gateway.take(await events.next())
        while set(gateway.nodes) != {"gw-1"}:
            gateway.take(await events.next())
    async with daemon.control.events("/v1/watch", last=before) as events:
        assert (await events.next()).name == "reset"


async def test_streams_are_ended_and_told_when_the_daemon_ends(site: Any) -> None:
    daemon = await site.daemon()
    async with (
        daemon.control.events("/v1/watch") as watch,
        daemon.control.events("/v1/leader/x", "POST") as term,
    ):
        await term.next("elected")
        poll = asyncio.create_task(daemon.control.get("/v1/nodes?index=1&wait=60s"), name="long poll")
        began = time.monotonic()
        assert await daemon.process.terminate(grace=20) == 0
        assert time.monotonic() - began < 10
        assert (await watch.ended())[-1].data == {"reason": "the daemon ends"}
        assert (await term.ended())[-1].name in ("end", "lost")
        await asyncio.wait([poll])
    assert await site.nodes() == {}


async def caught_up(daemon: Any, site: Any) -> bool:
    body = (await daemon.control.get("/v1/nodes")).body
    return {node["id"]: node["mod_revision"] for node in body["nodes"]} == await site.nodes()
