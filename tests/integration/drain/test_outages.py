"""etcd is away at each step of a drain: nothing is lost, and what can go on does."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from clusterd import SessionState
from clusterd.drain import OnDeadline
from clusterd.testing import EtcdServer, TcpProxy, eventually

AWAY = float(os.environ.get("TEST_OUTAGE_SECONDS", "3"))
"""Longer than the TTL of 2 s, so that leases are lost where etcd's clock goes on."""

MOMENTS = {
    "settling": lambda gateway: gateway.state == "cordoned",
    "moving": lambda gateway: len(gateway.moves) > 2,
    "drained": lambda gateway: gateway.state == "drained",
}


@pytest.mark.timeout(AWAY + 90)
@pytest.mark.parametrize("fault", ["killed", "paused"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_drain_survives_etcd(yard: Any, etcd: EtcdServer, in_order: Any, moment: str, fault: str) -> None:
    gateway = await yard.gateway("gw-1", 40)
    await yard.drain("gw-1", rate=20.0)
    await eventually(lambda: MOMENTS[moment](gateway))
    left = len(gateway.sessions)
    if fault == "killed":
        await etcd.kill()
    else:
        etcd.pause()
    await asyncio.sleep(AWAY)
    assert gateway.state != "active"
    if moment == "moving":
        assert len(gateway.sessions) < left - 20
    if fault == "killed":
        await etcd.start()
    else:
        etcd.resume()
    await asyncio.wait_for(gateway.agent.session.wait_for(SessionState.CONNECTED), 10)
    await eventually(lambda: gateway.state == "drained" and not gateway.sessions)
    await eventually(lambda: gateway.agent.topology.nodes["gw-1"].state == "drained")
    assert sum(count for _, count in gateway.moves) == 40


async def test_a_limit_holds_while_it_can_not_be_known_who_else_drains(yard: Any) -> None:
    """A node that is cut off stops before another one can have its permit; then it waits for its turn again."""
    async with TcpProxy(yard.etcd.endpoint) as proxy:
        one, other = await yard.gateway("gw-1", 200, etcd=proxy.endpoint), await yard.gateway("gw-2", 200)
        await yard.drain("gw-1", rate=30.0, max_unavailable="1", settle=0.0)
        await eventually(lambda: one.moves)
        await yard.drain("gw-2", rate=30.0, max_unavailable="1", settle=0.0)
        await yard.blocked("gw-2", "a permit: gw-1 drains already")
        proxy.drop()
        await eventually(lambda: other.moves)
        assert one.moves[-1][0] < other.moves[0][0]
        await proxy.heal()
        await yard.blocked("gw-1", "a permit: gw-2 drains already")
        assert one.moves[-1][0] < other.moves[0][0]
        other.sessions.clear()
        await eventually(lambda: one.moves[-1][0] > other.moves[0][0])


async def test_a_forced_deadline_waits_for_the_permit(yard: Any) -> None:
    one, other = await yard.gateway("gw-1", 200), await yard.gateway("gw-2", 5)
    await yard.drain("gw-1", rate=1.0, max_unavailable="1", settle=0.0)
    await eventually(lambda: one.moves)
    await yard.drain("gw-2", max_unavailable="1", settle=0.0, deadline=0.5, on_deadline=OnDeadline.FORCE)
    progress = await yard.blocked("gw-2", "a permit: gw-1 drains already")
    await eventually(lambda: other.agent.sessions.count == 5)
    await yard.withdraw("gw-1")
    await eventually(lambda: other.state == "drained")
    assert progress.waits_for_permit


@pytest.mark.parametrize("silence", ["drop", "half_open"])
async def test_a_drain_taken_back_while_its_node_hears_nothing_is_noticed_after(yard: Any, silence: str) -> None:
    """Also where the watch of the intent is dead without a sign."""
    async with TcpProxy(yard.etcd.endpoint) as proxy:
        gateway = await yard.gateway("gw-1", 3, etcd=proxy.endpoint)
        gateway.agent.on_drain(lambda _: asyncio.sleep(60))
        await yard.drain("gw-1")
        await eventually(lambda: gateway.state == "draining")
        getattr(proxy, silence)()
        await yard.withdraw("gw-1")
        if silence == "drop":  # where new connections are good, a node may as well hear of it at once
            await asyncio.sleep(0.5)
            assert gateway.state == "draining"
        await proxy.heal()
        await eventually(lambda: gateway.state == "active")
