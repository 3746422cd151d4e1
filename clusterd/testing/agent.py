"""An agent as a process of its own, as it runs beside a gateway: watched through its output, paused, killed."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Self

from clusterd.aio import Signal
from clusterd.child import STOP_GRACE, Child, ChildError
from clusterd.errors import ClusterdError, WaitTimeout

RUN = (sys.executable, "-m", "clusterd", "run", "--control", "off", "--probes", "off")
"""The command that runs an agent; it listens nowhere unless its arguments say so: several share one host."""


class AgentProcess:
    """`clusterd run` with these arguments as a process; an async context manager.

    What it writes is collected line by line: `stdout`, `stderr`, and both as they came in `lines`.
    `env` replaces the environment; `command` runs something other than `clusterd run`.
    """

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, command: Sequence[str] = RUN) -> None:
        self.argv = (*command, *arguments)
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self.lines: list[str] = []
        self._env = env
        self._child: Child | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._news = Signal()

    @property
    def pid(self) -> int:
        """The process id. Raises `ChildError` before the start."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self._child is not None and self._child.running

    @property
    def returncode(self) -> int | None:
        """The exit code, minus the signal's number if one ended it; None while it runs."""
        return self._started().returncode

    async def start(self) -> None:
        """Start it, without waiting for anything; again after it ended. Raises `ChildError` if it can't be."""
        if self.running:
            raise ChildError(f"the agent already runs, as process {self.pid}")
        await self._drain()
        pipe = asyncio.subprocess.PIPE
        self._child = await Child.spawn(self.argv, env=self._env, stdout=pipe, stderr=pipe)
        self._readers = [
            asyncio.create_task(self._collect(self._child.stdout, self.stdout), name="agent stdout"),
            asyncio.create_task(self._collect(self._child.stderr, self.stderr), name="agent stderr"),
        ]
        for reader in self._readers:
            reader.add_done_callback(lambda _: self._news.fire())

    async def wait_for_line(self, pattern: str, timeout: float = 10.0, *, after: int = 0) -> re.Match[str]:
        """Return the first match of the regular expression in `lines[after:]`, those to come included.

        Raises `WaitTimeout` after `timeout` seconds, `ClusterdError` if the process ended without such a line.
        """
        expression = re.compile(pattern)
        try:
            async with asyncio.timeout(timeout):
                while (match := self._find(expression, after)) is None:
                    self._check_more_can_come(pattern)
                    await self._news.wait()
        except TimeoutError:
            raise WaitTimeout(f"no line matched {pattern!r} within {timeout:g} s; {self._tail()}") from None
        return match

    def pause(self) -> None:
        """SIGSTOP. Raises `ChildError` if it doesn't run."""
        self._started().pause()

    def resume(self) -> None:
        """SIGCONT. Raises `ChildError` if it doesn't run."""
        self._started().resume()

    async def terminate(self, grace: float = STOP_GRACE) -> int:
        """SIGTERM, and SIGKILL after `grace` seconds; return the exit code, when all output is collected."""
        code = await self._started().stop(grace)
        await self._drain()
        return code

    async def kill(self) -> int:
        """SIGKILL; return the exit code, when all output is collected."""
        code = await self._started().kill()
        await self._drain()
        return code

    async def wait(self, timeout: float = 10.0) -> int:
        """Wait until it ends by itself; return the exit code. Raises `WaitTimeout` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                code = await self._started().wait()
        except TimeoutError:
            raise WaitTimeout(f"process {self.pid} did not end within {timeout:g} s; {self._tail()}") from None
        await self._drain()
        return code

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def _collect(self, stream: asyncio.StreamReader | None, into: list[str]) -> None:
        assert stream is not None  # noqa: S101 - both were asked to be pipes
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            into.append(line)
            self.lines.append(line)
            self._news.fire()

    async def _drain(self) -> None:
        await asyncio.gather(*self._readers)

    def _started(self) -> Child:
        if self._child is None:
            raise ChildError("the agent has not been started")
        return self._child

    def _find(self, expression: re.Pattern[str], after: int) -> re.Match[str] | None:
        return next(filter(None, map(expression.search, self.lines[after:])), None)

    def _check_more_can_come(self, pattern: str) -> None:
        if all(reader.done() for reader in self._readers):
            raise ClusterdError(f"the process ended without a line that matches {pattern!r}; {self._tail()}")

    def _tail(self) -> str:
        return "its output ends:\n" + "\n".join(self.lines[-10:])
