"""The narrator: tells the audience what is done and what was seen, over a table of the nodes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from rich.console import Group
from rich.live import Live
from rich.text import Text

from clusterctl.demo.scenes import Observation
from clusterctl.demo.stage import Stage
from clusterctl.fleet import join
from clusterctl.render import fleet, tables
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.screen import Screen, now

_REFRESH_SECONDS = 0.2


class Narrator:
    """Speaks on stdout: with colours above a live table at a terminal, in plain lines with a table a scene else."""

    def __init__(self, screen: Screen) -> None:
        self.last_words = ""
        """What the summary ends with."""
        self._screen = screen

    def tell(self, line: str, style: str = "") -> None:
        """Say a line."""
        if self._screen.person:
            self._screen.console.print(Text(line, style=style))
        else:
            self._screen.write(line)

    def observed(self, observation: Observation) -> None:
        """Say what was observed."""
        self.tell(
            f"  {_mark(observation, person=self._screen.person)} {observation.claim}: {observation.seen}",
            "green" if observation.held else "bold red",
        )

    def nodes(self, stage: Stage) -> None:
        """Show the nodes as they are now, where no live table does."""
        if not self._screen.person:
            self._screen.write("\n" + tables.aligned(_table(stage)))

    def summary(self, observations: Sequence[Observation]) -> None:
        """Show everything that was observed."""
        rows = [
            [
                Cell(_mark(observation, person=self._screen.person), "green" if observation.held else "bold red"),
                Cell(observation.claim),
                Cell(observation.seen),
            ]
            for observation in observations
        ]
        self.tell("")
        self._screen.show(Table([Heading(""), Heading("EXPECTED"), Heading("SEEN")], list(rows)))
        if self.last_words:
            self.tell(f"\n{self.last_words}", "bold")

    @contextlib.asynccontextmanager
    async def live(self, stage: Stage) -> AsyncIterator[None]:
        """Keep a table of the nodes below what is told, at a terminal."""
        if not self._screen.person:
            yield
            return
        with Live(console=self._screen.console, auto_refresh=False, transient=True) as live:
            drawing = asyncio.create_task(_draw(live, stage), name="clusterctl demo's table")
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.wait([drawing])


async def _draw(live: Live, stage: Stage) -> None:
    while True:
        topology = stage.topology
        caption = f"revision {topology.revision}" + (", stale: etcd is away" if topology.stale else "")
        live.update(Group("", tables.for_terminal(_table(stage), caption)), refresh=True)
        await asyncio.sleep(_REFRESH_SECONDS)


def _table(stage: Stage) -> Table:
    return fleet.table(join(stage.topology, {}), now(), fleet.BRIEF)


def _mark(observation: Observation, *, person: bool) -> str:
    if person:
        return "✔" if observation.held else "✘"
    return "ok  " if observation.held else "FAIL"
