"""`clusterctl watch`: what happens to the fleet and to etcd, as it happens."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any


async def test_every_change_is_a_line(fleet: Any, started: Any, here: dict[str, str]) -> None:
    async with started("watch", env=here) as child:
        assert b"snapshot     4 nodes, go-svc, gw-1, gw-2, gw-3" in await child.stdout.readline()
        await fleet.register("gw-9", zone="z")
        assert b"joined       gw-9  active, 127.0.0.1:80, zone z" in await child.stdout.readline()
        await fleet.register("gw-9", zone="z", weight=50)
        assert "updated      gw-9  weight 100 → 50" in (await child.stdout.readline()).decode()
        await fleet.etcd.admin.delete("/nodes/gw-9")
        assert b"left         gw-9" in await child.stdout.readline()
        child.send_signal(signal.SIGINT)
        assert await child.wait() == 130
        assert (await child.stderr.read()).strip() == b""


async def test_objects_for_machines(fleet: Any, started: Any, here: dict[str, str]) -> None:
    async with started("watch", "-o", "jsonl", env=here) as child:
        snapshot = json.loads(await child.stdout.readline())
        assert (snapshot["event"], len(snapshot["nodes"])) == ("snapshot", 4)
        revision = await fleet.register("gw-1", zone="elsewhere")
        event = json.loads(await child.stdout.readline())
        assert (event["event"], event["node"], event["revision"]) == ("updated", "gw-1", revision)
        assert event["changes"]["zone"] == {"before": "a", "after": "elsewhere"}


async def test_it_survives_an_outage_and_says_so(fleet: Any, started: Any, here: dict[str, str]) -> None:
    async with started("watch", env=here) as child:
        await child.stdout.readline()
        await fleet.etcd.stop()
        assert b"stale" in await child.stdout.readline()
        assert b"clusterctl: stale: " in await child.stderr.readline()
        await fleet.etcd.start()
        assert b"fresh" in await child.stdout.readline()
        await fleet.register("gw-9")
        assert b"joined       gw-9" in await child.stdout.readline()


async def test_a_reader_who_has_seen_enough_ends_it_quietly(fleet: Any, started: Any, here: dict[str, str]) -> None:
    async with started("watch", env=here) as child:
        await child.stdout.readline()
        child.stdout._transport.close()
        async with asyncio.timeout(10):
            while child.running:
                await fleet.register("gw-9")
                await asyncio.sleep(0.05)
        assert await child.wait() == 0
        assert await child.stderr.read() == b""
