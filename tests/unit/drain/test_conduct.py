"""Carrying one drain out, on a site without etcd."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

from clusterd.drain import make_drain
from clusterd.drain.conduct import Conduct
from clusterd.drain.orders import Orders
from clusterd.drain.site import Site
from clusterd.etcd.client import Client
from clusterd.keys import Keyspace
from clusterd.node import Node, NodeState
from clusterd.testing import eventually
from clusterd.topology import EMPTY


def site(placed: list[NodeState]) -> Site:
    return Site(
        client=cast(Client, None),
        keyspace=Keyspace(),
        orders=cast(Orders, None),
        ttl=2,
        node=lambda: Node(id="gw-1", address="10.0.0.1:8080"),
        place_state=placed.append,
        placed_state=lambda: placed[-1] if placed else None,
        lease=lambda: 1,
        topology=lambda: EMPTY,
        leading=lambda: False,
    )


async def test_a_drain_that_was_taken_back_says_nothing_more_of_the_state() -> None:
    """Also where it wakes once more before it is cancelled: nobody would put the state right after that."""
    placed: list[NodeState] = []
    conduct = Conduct(site(placed), make_drain(by="ann", now=datetime.now(UTC)), None)
    task = asyncio.create_task(conduct.run(), name="conduct")
    await eventually(lambda: placed)
    conduct.drain.cancel()
    placed.clear()
    await asyncio.wait_for(task, 5)
    assert placed == []
