"""What befalls etcd. Each fault puts right what it broke before it returns."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

from clusterd.etcd.process import EtcdProcess
from clusterd.testing.netns import PartitionableCluster
from tests.chaos.fleet.names import EVERYBODY
from tests.chaos.fleet.stage import Stage, now

Fault = str


class EtcdFaults:
    """One fault of etcd at a time."""

    usual = (
        *("kill_a_member", "stop_a_member", "pause_a_follower", "pause_the_leader", "cut_a_member_off"),
        *("lose_the_quorum", "restart_all", "kill_all", "pause_all"),
        *("compact", "defragment", "change_the_auth_store", "fill_the_quota"),
    )
    rare = ("restore_a_snapshot", "wipe")

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._cluster = stage.cluster
        self._rng = stage.rng
        self._ttl = stage.plan.ttl
        self._numbers = itertools.count()

    async def kill_a_member(self) -> None:
        member = self._any()
        await member.kill()
        await self._while(0.1, 0.5)
        await self._stage.revive()

    async def stop_a_member(self) -> None:
        member = self._any()
        await member.stop()
        await self._while(0.1, 0.5)
        await self._stage.revive()

    async def pause_a_follower(self) -> None:
        leader = await self._cluster.wait_leader()
        followers = [member for number, member in enumerate(self._cluster.members) if number != leader]
        await self._pause([self._rng.choice(followers)], 0.3, 2.0)

    async def pause_the_leader(self) -> None:
        """As it goes on, it revokes leases that were renewed elsewhere meanwhile (etcd-io/etcd #12528)."""
        since = now()
        await self._pause([self._cluster.members[await self._cluster.wait_leader()]], 0.2, 1.5)
        self._stage.recorder.note("cause", EVERYBODY, since=since, until=now())

    async def cut_a_member_off(self) -> None:
        """Partition one member from the others; clients still reach it."""
        cluster, number = self._cluster, self._rng.randrange(3)
        assert isinstance(cluster, PartitionableCluster)
        await cluster.partition(number)
        try:
            await self._while(0.3, 2.0)
        finally:
            await cluster.heal(number)

    async def lose_the_quorum(self) -> None:
        await self._pause(self._rng.sample(self._cluster.members, 2), 0.3, 2.0)

    async def restart_all(self) -> None:
        await self._cluster.stop()
        await self._while(0.0, 2.0)
        await self._stage.revive()

    async def kill_all(self) -> None:
        await self._cluster.kill()
        await self._while(0.0, 2.0)
        await self._stage.revive()

    async def pause_all(self) -> None:
        await self._pause(self._cluster.members, 0.3, 2.0)

    async def compact(self) -> None:
        """Forget the history; the auditor alone is waited for."""
        if await self._stage.caught_up():
            await self._cluster.compact(self._stage.auditor.revision)

    async def defragment(self) -> None:
        await self._cluster.defragment()

    async def change_the_auth_store(self) -> None:
        """Any change of users has etcd say to calls that were under way that their revision of it is old."""
        await self._cluster.admin.add_user(f"guest-{next(self._numbers)}", "pw", roles=("fleet",))

    async def fill_the_quota(self) -> None:
        """Leases are kept; nobody gets in, and nothing can be written, until there is room again."""
        await self._cluster.fill()
        await self._while(0.2, 1.0)
        await self._cluster.make_room()

    async def restore_a_snapshot(self) -> None:
        """Go back a few seconds, under the same cluster id or another one."""
        revision = await self._cluster.admin.revision()
        snapshot = await self._cluster.snapshot()
        await self._while(0.5, 1.0)
        await self._begin_rebuilding()
        await self._cluster.restore(snapshot, new_cluster_id=self._rng.random() < 0.5)
        await self._stage.audit(revision)

    async def wipe(self) -> None:
        """Lose everything, operators' intents too."""
        await self._begin_rebuilding()
        await self._cluster.wipe(new_cluster_id=self._rng.random() < 0.5)
        await self._stage.secure()
        await self._stage.audit(1)

    async def _begin_rebuilding(self) -> None:
        await self._stage.caught_up()
        await self._stage.stop_audit()
        self._stage.recorder.note("rebuilding")

    async def _pause(self, members: Sequence[EtcdProcess], least: float, most: float) -> None:
        for member in members:
            member.pause()
        try:
            await self._while(least, most)
        finally:
            for member in members:
                member.resume()

    def _any(self) -> EtcdProcess:
        return self._rng.choice(self._cluster.members)

    async def _while(self, least: float, most: float) -> None:
        """Let time pass, in TTLs."""
        await asyncio.sleep(self._rng.uniform(least, most) * self._ttl)
