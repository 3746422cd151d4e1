"""A daemon that starts before its gateway: the node owns no keys until something accepts connections there."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from clusterd.agent import Agent
from clusterd.node import NodeState, check_address

log = logging.getLogger(__name__)

_LOOK_AGAIN = 0.25
_PATIENCE = 2.0


async def become_active_with(agent: Agent, gateway: str) -> None:
    """Make a node that is `starting` active once its gateway listens at `host:port`; waits for that for ever."""
    while not await listens(gateway):  # noqa: ASYNC110 - only asking tells
        await asyncio.sleep(_LOOK_AGAIN)
    await agent.update(state=NodeState.ACTIVE)
    log.info("the gateway listens at %s: the node is %s", gateway, agent.node.state)


async def listens(address: str) -> bool:
    """Whether a TCP connection to `host:port` is accepted. Raises `InvalidAddress`."""
    host, _, port = check_address(address).rpartition(":")
    try:
        async with asyncio.timeout(_PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
