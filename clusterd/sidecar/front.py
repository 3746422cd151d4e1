"""What of the daemon is reachable over HTTP: the listeners that the settings ask for."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

from clusterd.agent import Agent
from clusterd.errors import UsageError
from clusterd.sidecar.gateway import Gateway
from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.certificates import Certificate
from clusterd.sidecar.http.control import Control
from clusterd.sidecar.http.guard import Guard
from clusterd.sidecar.http.listeners import allow_connections, serving
from clusterd.sidecar.http.probes import Render, make_probes
from clusterd.sidecar.http.tokens import TokenFile
from clusterd.sidecar.settings import Settings

log = logging.getLogger(__name__)


class Front:
    """The daemon's HTTP side. Raises `UsageError` for settings that can't be used, or don't fit together.

    `render` makes the metrics.
    """

    def __init__(self, settings: Settings, agent: Agent, *, render: Render | None = None) -> None:
        self.gateway = Gateway(agent)
        self.control = Control(agent, self.gateway, settings.ttl)
        self._agent = agent
        self._render = render
        self._probes_at = ListenAddress.parse(settings.probes, "probes")
        self._control_at = ListenAddress.parse(settings.control, "control")
        self._tls = _tls(settings.control_cert, settings.control_key)
        tokens = TokenFile(settings.token_file) if settings.token_file else None
        self._guard = Guard(self._control_at, tokens) if self._control_at else None

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen for the time of the body: from before the node is registered until after it left.

        Each listener is printed as `probes URL` or `control URL`. Raises `Conflict` where another process listens.
        """
        allow_connections()
        async with contextlib.AsyncExitStack() as stack:
            if self._probes_at is not None:
                probes = make_probes(self._agent, self._render)
                _tell("probes", await stack.enter_async_context(serving(probes, self._probes_at)))
            if self._control_at is not None and self._guard is not None:
                control = serving(self.control.app(self._guard), self._control_at, tls=self._tls)
                _tell("control", await stack.enter_async_context(control))
            stack.callback(self.control.close, "the daemon ends")
            yield

    async def run(self) -> None:
        """Keep up with the agent, which runs, until it stops."""
        await self.control.fleet.follow()

    def close(self) -> None:
        """End what streams there are: the node is about to leave."""
        self.control.close("the daemon ends")


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UsageError("--control-cert and --control-key belong together: give both")
    return Certificate(cert, key).context


def _tell(name: str, url: str) -> None:
    log.info("%s: listening on %s", name, url)
    print(f"{name} {url}", flush=True)
