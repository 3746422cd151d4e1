"""What of the daemon is reachable over HTTP: the listeners that the settings ask for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from clusterd.agent import Agent
from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.listeners import serving
from clusterd.sidecar.http.probes import make_probes
from clusterd.sidecar.settings import Settings

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def listening(settings: Settings, agent: Agent) -> AsyncIterator[None]:
    """Serve probes and control for the time of the body, from before the node is registered until after it left.

    Each listener is printed as `probes URL` or `control URL`. Raises `UsageError` for settings that can't be used,
    `Conflict` where another process listens.
    """
    probes = ListenAddress.parse(settings.probes, "probes")
    async with contextlib.AsyncExitStack() as stack:
        if probes is not None:
            _tell("probes", await stack.enter_async_context(serving(make_probes(agent), probes)))
        yield


def _tell(name: str, url: str) -> None:
    log.info("%s: listening on %s", name, url)
    print(f"{name} {url}", flush=True)
