"""Child processes that are stopped for certain: with their context, and when this process dies."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from clusterd.errors import ClusterdError

STOP_GRACE = 5.0
"""Seconds that a child has to end after SIGTERM, before it gets SIGKILL."""

_LINE_LIMIT = 1 << 20  # bytes that a line of its output may have
_LAUNCHER = Path(__file__).with_name("launcher.py")
_children: weakref.WeakSet[Child] = weakref.WeakSet()


class ChildError(ClusterdError):
    """A child process could not be started, or isn't there to be signalled."""


class Child:
    """One run of a command as an OS process of its own, in its own session: Ctrl-C at the terminal isn't for it.

    It never outlives the thread that started it: on Linux the kernel sees to that, elsewhere `atexit` does for every
    ordinary end. Signals go to its pid alone, and never to a pid that is no longer ours.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        _children.add(self)

    @classmethod
    async def spawn(
        cls,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
        stderr: int | IO[Any] | None = asyncio.subprocess.DEVNULL,
    ) -> Child:
        """Start `argv`; its standard input is empty unless asked to be a pipe.

        Raises `ChildError` if the operating system refuses.

        A command that doesn't exist shows as exit code 1 on Linux, where the launcher looks for it.
        """
        command = [*_launcher(), *(os.fspath(argument) for argument in argv)]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=env,
                start_new_session=True,
                limit=_LINE_LIMIT,
            )
        except OSError as error:
            raise ChildError(f"{argv[0]} could not be started: {error}") from error
        return cls(process)

    @property
    def pid(self) -> int:
        """The process id; it stays known after the process ended."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet; a paused one runs."""
        return self._process.returncode is None

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; None while it runs."""
        return self._process.returncode

    @property
    def stdin(self) -> asyncio.StreamWriter | None:
        """What goes to its standard input, if that is a pipe."""
        return self._process.stdin

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it writes to its standard output, if that is a pipe."""
        return self._process.stdout

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        """What it writes to its standard error, if that is a pipe."""
        return self._process.stderr

    def send_signal(self, number: signal.Signals) -> None:
        """Send one signal. Raises `ChildError` if the process has ended."""
        if not self._signal_if_running(number):
            raise ChildError(f"process {self.pid} has ended: {number.name} reaches nobody")

    def pause(self) -> None:
        """SIGSTOP: it keeps its memory and its connections, and does nothing. Raises `ChildError` if it ended."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on where it was paused. Raises `ChildError` if it ended."""
        self.send_signal(signal.SIGCONT)

    async def wait(self) -> int:
        """Wait until it ends; return the exit code."""
        return await self._process.wait()

    async def stop(self, grace: float = STOP_GRACE) -> int:
        """SIGTERM, and SIGKILL after `grace` seconds; return the exit code. Also for one that is paused, or ended.

        A caller that is cancelled meanwhile leaves it killed.
        """
        try:
            self._signal_if_running(signal.SIGTERM)
            self._signal_if_running(signal.SIGCONT)
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            return await self.kill()
        except BaseException:
            self.kill_now()
            raise

    async def kill(self) -> int:
        """SIGKILL, and wait until it has ended; return the exit code."""
        self.kill_now()
        return await self.wait()

    def kill_now(self) -> None:
        """SIGKILL without waiting: for places that can't."""
        self._signal_if_running(signal.SIGKILL)

    def _signal_if_running(self, number: signal.Signals) -> bool:
        """Send a signal and return True, or return False if the process has ended.

        Not by the process's own `send_signal`: that looks for the exit code by itself, and asyncio then misses it.
        """
        if self.running:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
                return True
        return False


def _launcher() -> list[str]:
    if sys.platform != "linux":
        return []
    return [sys.executable, "-I", "-S", os.fspath(_LAUNCHER), str(os.getpid())]


@atexit.register
def _kill_all() -> None:
    for child in list(_children):
        child.kill_now()
