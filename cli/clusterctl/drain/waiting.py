"""Waiting for drains to end: bars at a terminal, lines in a pipe, events as JSON; detached by Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from rich.cells import cell_len
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.table import Column

from clusterctl.drain.looks import look_at
from clusterctl.drain.rendering import facts, outcome_text, progress_document
from clusterctl.drain.tracking import Tracker, exit_code
from clusterctl.options import current_layers
from clusterctl.render import documents
from clusterctl.render.text import printable, timestamp
from clusterctl.screen import Screen, now, say
from clusterctl.settings import Settings
from clusterd.errors import WaitTimeout
from clusterd.etcd.client import Client
from clusterd.etcd.errors import TlsFailed, Unavailable

_LOOK_SECONDS = 0.5
_LINE_SECONDS = 10.0
_WIDE, _LEAST_FACTS = 110, 20
_WHERE = ("endpoints", "cacert", "cert", "key", "user", "password_file", "prefix")


class Reporter:
    """Tells how drains go. With `jsonl` as events on stdout, else in words: bars or lines on stderr, ends on stdout."""

    def __init__(self, screen: Screen, trackers: Sequence[Tracker], *, jsonl: bool) -> None:
        self._screen = screen
        self._jsonl = jsonl
        self._trackers = trackers
        self._told: dict[str, tuple[Any, float]] = {}
        self._trouble = ""
        columns = _columns(screen.stderr.width, [each.node for each in trackers])
        self._bars = Progress(*columns, console=screen.stderr, disable=jsonl or not screen.stderr.is_terminal)
        self._tasks = {each.node: self._bars.add_task(each.node, total=None, facts="") for each in trackers}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def event(self, kind: str, **document: Any) -> None:
        """Write an event, where events are wanted."""
        if self._jsonl:
            self._screen.write(documents.as_json_line({"time": timestamp(now()), "event": kind, **document}))

    def tell(self) -> None:
        """Say what is new."""
        self._trouble = ""
        for tracker in self._trackers:
            if self._jsonl:
                self._tell_event(tracker)
            elif self._bars.disable:
                self._tell_line(tracker)
            else:
                self._draw(tracker)

    def trouble(self, error: Exception) -> None:
        """Say, once, that etcd can't be asked."""
        if not self._trouble:
            say(f"{error}; waiting for etcd: the nodes go on by themselves")
        self._trouble = str(error)

    def end(self) -> None:
        """Say how it ended, where words are wanted."""
        if not self._jsonl:
            for tracker in self._trackers:
                self._screen.write(printable(f"{tracker.node} {outcome_text(tracker)}"))

    def _tell_event(self, tracker: Tracker) -> None:
        document = progress_document(tracker)
        if self._is_news(tracker.node, (document, tracker.outcome), 0.0):
            self.event(tracker.outcome.value if tracker.outcome else "progress", **document)

    def _tell_line(self, tracker: Tracker) -> None:
        progress = tracker.progress
        course = (progress.phase, progress.stalled) if progress else None
        if self._is_news(tracker.node, (course, tracker.blocked_by, tracker.outcome), _LINE_SECONDS):
            say(f"{tracker.node} {facts(tracker)}")

    def _is_news(self, node: str, what: Any, again_after: float) -> bool:
        """Whether that wasn't told yet, or so long ago that it is time to tell how far it is."""
        told, at = self._told.get(node, (None, 0.0))
        ended = isinstance(what, tuple) and what[-1] is not None
        if told == what and (ended or not again_after or time.monotonic() < at + again_after):
            return False
        self._told[node] = what, time.monotonic()
        return True

    def _draw(self, tracker: Tracker) -> None:
        progress = tracker.progress
        total = progress.at_start if progress else None
        done = total if tracker.outcome and tracker.outcome.exit_code == 0 else progress.moved if progress else 0
        # A bar for no sessions is full when that is known to be so.
        self._bars.update(
            self._tasks[tracker.node],
            total=max(total, 1) if total is not None else None,
            completed=max(done or 0, 1 if tracker.outcome and not total else 0),
            facts=facts(tracker),
        )


def wait(settings: Settings, reporter: Reporter, trackers: list[Tracker], timeout: float | None) -> int:
    """Wait until all drains have ended; return the exit code. Raises `WaitTimeout`, `EtcdError`, `KeyboardInterrupt`.

    The drains go on by themselves, whatever becomes of who waits.
    """
    resume = resume_command([tracker.node for tracker in trackers])
    try:
        with reporter:
            asyncio.run(_wait(settings, reporter, trackers, timeout))
    except KeyboardInterrupt:
        reporter.event("detached", resume=resume)
        say(f"detached; the drain goes on. Watch it: {resume}")
        raise
    except TimeoutError:
        reporter.event("timeout", resume=resume)
        raise WaitTimeout(f"not drained within the --timeout; the drain goes on. Watch it: {resume}") from None
    reporter.end()
    return exit_code(trackers)


def _columns(width: int, nodes: Sequence[str]) -> tuple[ProgressColumn, ...]:
    """Return the columns of the bars: names are never cut, facts are folded.

    The last characters of a line stay free: what the terminal echoes for Ctrl-C would wrap there.
    """
    name = min(max(map(cell_len, nodes), default=0), width // 2)
    bar = 24 if width >= _WIDE else 8
    facts = max(width - name - bar - 5, _LEAST_FACTS)
    return (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, min_width=name)),
        BarColumn(bar),
        TextColumn("{task.fields[facts]}", markup=False, table_column=Column(max_width=facts, overflow="fold")),
    )


@contextlib.contextmanager
def interruptible(interrupted: Callable[[], str]) -> Iterator[None]:
    """Say how to go on, if the body, which writes intents, is interrupted, or loses etcd in the middle of it."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"{interrupted()}. Look: {status_command()}")
        raise
    except Unavailable:
        say(f"etcd may have taken all of it, or a part: look, when it is back, with {status_command()}")
        raise


def resume_command(nodes: Sequence[str]) -> str:
    """Return the command that watches these drains, at the same etcd; never with a password."""
    return status_command("-w", *nodes)


def status_command(*arguments: str) -> str:
    """Return the command that shows drains, at the same etcd; never with a password."""
    flags = current_layers().flags
    where: list[str] = []
    for name in _WHERE:
        if name in flags:
            value = str(flags[name])
            where += [f"--{name.replace('_', '-')}", value.partition(":")[0] if name == "user" else value]
    return shlex.join(["clusterctl", "drain", "status", *where, *arguments])


async def _wait(settings: Settings, reporter: Reporter, trackers: list[Tracker], timeout: float | None) -> None:
    async with asyncio.timeout(timeout), Client(settings.etcd) as client:
        while True:
            await _look(client, settings, reporter, [each for each in trackers if each.outcome is None])
            if all(tracker.outcome for tracker in trackers):
                return
            await asyncio.sleep(_LOOK_SECONDS)


async def _look(client: Client, settings: Settings, reporter: Reporter, pending: list[Tracker]) -> None:
    """Look once, and tell what is new. That etcd is away is no reason to give up: the nodes go on without it."""
    try:
        looks = await look_at(client, settings.keyspace, [tracker.node for tracker in pending])
    except TlsFailed:
        raise
    except Unavailable as error:
        return reporter.trouble(error)
    for tracker, look in zip(pending, looks, strict=True):
        tracker.note(look, time.monotonic())
    return reporter.tell()
