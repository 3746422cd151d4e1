"""The steps of a drain, one after the other: how each is reached, what lets it go on, and how it ends.

All of it with processes: a gateway, etcd, `clusterctl`. Each of them can die at each step.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from clusterd.drain.intent import decode_intent
from clusterd.drain.queue import decode_permit
from clusterd.etcd.messages import Event
from clusterd.history import read_history
from clusterd.keys import Keyspace, range_end
from clusterd.node import decode_node
from clusterd.testing import AgentProcess, eventually

KEYS = Keyspace()
NODE = "gw-1"
SESSIONS = 30
GHOST_SECONDS = 600
CLUSTERCTL = (sys.executable, "-m", "clusterctl")
BY_NODES = {"drained", "forced", "kept", "aborted", "undrained"}
"""What nodes tell the history."""


class Scene:
    """A gateway that is drained by an operator, who waits for the end."""

    def __init__(self, yard: Any, process: Callable[..., AgentProcess], stack: AsyncExitStack) -> None:
        self.yard = yard
        self.away = 0.3
        self.gateway = process(NODE, SESSIONS)
        self.other: AgentProcess | None = None
        self.operator = AgentProcess()
        self._first = True
        self._ghost = 0
        self._mark = 0
        self._begin = 0
        self._process = process
        self._stack = stack

    @classmethod
    @asynccontextmanager
    async def set(cls, yard: Any, process: Callable[..., AgentProcess]) -> AsyncIterator[Self]:
        """Start the gateway, and end whatever was started for the time of the body."""
        async with AsyncExitStack() as stack:
            scene = cls(yard, process, stack)
            await stack.enter_async_context(scene.gateway)
            await scene.gateway.wait_for_line("entered active", 20)
            scene._begin = await yard.etcd.admin.revision()
            yield scene

    # What operators do.

    async def ask(self, *flags: str) -> None:
        """Have the node drained, and wait for the end in a process of its own."""
        await self._operate("drain", NODE, "--offline", "-y", "--max-unavailable", "1", *flags)
        await self.operator.wait_for_line('"event":"placed"', 20)

    async def watch(self) -> None:
        """Wait for the end in a new process."""
        await self._operate("drain", "status", "-w", NODE)

    async def run(self, *arguments: str) -> None:
        """Run a command of the operator's to its end, which is good."""
        async with self._clusterctl(*arguments) as command:
            assert await command.wait(20) == 0, command.lines

    async def hold_the_permit(self) -> None:
        """Have a node that nobody has heard of hold the only permit."""
        self._ghost = await self.yard.etcd.admin.lease_grant(GHOST_SECONDS)
        value = b'{"node":"ghost","max_unavailable":"1","granted":true}'
        await self.yard.etcd.admin.put(f"/permits/drain/{self._ghost:x}", value, lease=self._ghost)

    async def free_the_permit(self) -> None:
        """Let the permit go that nobody has heard of."""
        await self.yard.etcd.admin.lease_revoke(self._ghost)

    # What nodes do.

    def pause(self) -> None:
        """Let the gateway hear of nothing."""
        self.gateway.pause()

    def resume(self) -> None:
        """Let it go on; one that was started anew meanwhile does already."""
        self.gateway.resume()

    async def start_another(self) -> None:
        """Start a second gateway, which does nothing for the moment; its lease outlives that."""
        self.other = self._process("gw-2", 3, 30)
        await self._stack.enter_async_context(self.other)
        await self.other.wait_for_line("entered active", 20)
        self.other.pause()

    # Who dies.

    async def kill_agent(self) -> None:
        """The gateway's process is killed, and started again."""
        await self.gateway.kill()
        self._mark = len(self.gateway.lines)
        await self.gateway.start()

    async def kill_operator(self) -> None:
        """The command that waits is killed; somebody else looks after the drain."""
        await self.operator.kill()
        self._first = False
        await self.watch()

    async def kill_etcd(self) -> None:
        """etcd is killed, and started again after a while."""
        await self.yard.etcd.kill()
        await asyncio.sleep(self.away)
        await self.yard.etcd.start()

    # What is seen.

    async def shows(self, state: str) -> None:
        """Wait until the node's record shows a state."""

        async def shown() -> bool:
            reply = await self.yard.client.range(KEYS.node(NODE))
            return bool(reply.kvs) and decode_node(NODE, reply.kvs[0].value).state.value == state

        await eventually(shown, 30, what=f"{NODE} is {state}")

    async def says(self, pattern: str) -> None:
        """Wait until this run of the gateway has said something."""
        await self.gateway.wait_for_line(pattern, 20, after=self._mark)

    async def progresses(self, what: str) -> None:
        """Wait until the node says so of its drain."""

        async def said() -> bool:
            progress = await self.yard.progress(NODE)
            return progress is not None and bool(getattr(progress, what))

        await eventually(said, 20, what=f"{NODE} says {what}")

    async def permitted(self) -> None:
        """Wait until the node has its permit."""

        async def granted() -> bool:
            found = await self.yard.client.range(KEYS.permits, range_end(KEYS.permits))
            permits = [decode_permit(kv.value) for kv in found.kvs]
            return any(permit and permit.node == NODE and permit.granted for permit in permits)

        await eventually(granted, 20, what=f"{NODE} has a permit")

    async def ended(self, step: Step) -> None:
        """Check that all came to its end: what the node shows, what the operator was told, what is left in etcd."""
        await self.shows(step.end)
        code = step.code if self._first or step.anew is None else step.anew
        assert await self.operator.wait(30) == code, self.operator.lines
        if step.end == "drained":
            await self.says("left 0")
            await self.run("undrain", NODE)
            await self.shows("active")
        await eventually(self._nothing_is_left)
        await self._check_history()

    async def _nothing_is_left(self) -> bool:
        intents = [kv for kv in await self.yard.etcd.admin.range("/intents/") if kv.key.endswith(NODE.encode())]
        permits = [decode_permit(kv.value) for kv in await self.yard.etcd.admin.range("/permits/drain/")]
        return not intents and NODE not in [permit.node for permit in permits if permit]

    async def _check_history(self) -> None:
        told = Counter(entry.what for entry in await read_history(self.yard.client, KEYS) if entry.node == NODE)
        assert told["drain"] == 1, told
        assert max((told[what] for what in BY_NODES), default=0) <= 1, f"told twice: {told}"
        Replay().take(await self._all_that_was_written())

    async def _all_that_was_written(self) -> list[Event]:
        """Return every change of etcd since the beginning, in the order of its revisions."""
        marker = b"/marker"
        until = (await self.yard.client.put(marker, b"")).header.revision
        events: list[Event] = []
        async with self.yard.client.watch(b"/", b"0", start_revision=self._begin + 1) as watch:
            while not events or events[-1].kv.mod_revision < until:
                events += await anext(watch)
        return events

    async def _operate(self, *arguments: str) -> None:
        self.operator = await self._stack.enter_async_context(self._clusterctl(*arguments, "-o", "jsonl"))

    def _clusterctl(self, *arguments: str) -> AgentProcess:
        where = ("--endpoints", self.yard.etcd.endpoint)
        return AgentProcess(*where, *arguments, command=CLUSTERCTL)


class Replay:
    """What was written, looked at once more: nobody was active who was to be drained, and no limit exceeded."""

    def __init__(self) -> None:
        self._intent = ""
        self._left = False
        self._granted: dict[bytes, str] = {}

    def take(self, events: list[Event]) -> None:
        """Go through all that was written."""
        for event in events:
            key, value = event.kv.key, event.kv.value if event.type == "PUT" else b""
            if key == KEYS.intent(NODE):
                self._take_intent(value)
            elif key == KEYS.node(NODE) and value:
                self._take_state(decode_node(NODE, value).state.value, event.kv.mod_revision)
            elif key.startswith(KEYS.permits):
                self._take_permit(key, value)

    def _take_intent(self, value: bytes) -> None:
        intent = decode_intent(value) if value else None
        assert not (self._intent and intent and intent.id != self._intent), "the intent was replaced by another"
        self._intent, self._left = (intent.id if intent else ""), False

    def _take_state(self, state: str, revision: int) -> None:
        self._left = self._left or bool(self._intent and state != "active")
        assert not (self._left and state == "active"), f"active at revision {revision}, though to be drained"

    def _take_permit(self, key: bytes, value: bytes) -> None:
        permit = decode_permit(value) if value else None
        self._granted.pop(key, None)
        if permit and permit.granted:
            self._granted[key] = permit.node
        assert len({*self._granted.values()}) <= 1, f"more drain than the limit allows: {self._granted}"


async def _nothing(_: Scene) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `before` arranges what the drain is to meet, `reached` waits for it, `after` lets it go on.

    `away`: for how many seconds etcd is gone, if that is what dies. `code` is what the operator's command ends with,
    `anew` one that is given after that, where that differs.
    """

    flags: tuple[str, ...]
    reached: Callable[[Scene], Awaitable[Any]]
    before: Callable[[Scene], Awaitable[Any]] = _nothing
    after: Callable[[Scene], Awaitable[Any]] = _nothing
    end: str = "drained"
    code: int = 0
    anew: int | None = None
    away: float = 0.3


async def _pause(scene: Scene) -> None:
    scene.pause()


async def _resume(scene: Scene) -> None:
    scene.resume()


async def _resume_the_other(scene: Scene) -> None:
    assert scene.other is not None
    scene.other.resume()


async def _take_back_unheard(scene: Scene) -> None:
    await scene.says("moved 1 ")
    scene.pause()
    await scene.run("undrain", NODE)


SOON = ("--settle", "300ms")
SLOW, BRISK = ("--rate", "1/s"), ("--rate", "20/s")

STEPS = {
    "asked for, and not heard of": Step(SOON, _nothing, before=_pause, after=_resume),
    "out of the slots": Step(("--settle", "1s"), lambda scene: scene.shows("cordoned")),
    "waiting for its cohort": Step(
        (*SOON, "gw-2"),
        lambda scene: scene.yard.blocked(NODE, "the cohort: gw-2 not cordoned yet"),
        before=lambda scene: scene.start_another(),
        after=_resume_the_other,
    ),
    "waiting for a permit": Step(
        SOON,
        lambda scene: scene.yard.blocked(NODE, "a permit: ghost drains already"),
        before=lambda scene: scene.hold_the_permit(),
        after=lambda scene: scene.free_the_permit(),
    ),
    "permitted": Step(
        (*SOON, "--rate", "1/h"),
        lambda scene: scene.permitted(),
        after=lambda scene: scene.run("drain", "set", NODE, *BRISK),
    ),
    "moving": Step((*SOON, *BRISK), lambda scene: scene.says("moved .* left 2")),
    "empty": Step(("--settle", "1s"), lambda scene: scene.says("left 0")),
    "drained": Step(SOON, lambda scene: scene.shows("drained")),
    "forced, and waiting for a permit": Step(
        (*SOON, "--deadline", "1s", "--on-deadline", "force"),
        lambda scene: scene.progresses("forced"),
        before=lambda scene: scene.hold_the_permit(),
        after=lambda scene: scene.free_the_permit(),
        code=6,
    ),
    "kept": Step(
        (*SOON, *SLOW, "--deadline", "1s"),
        lambda scene: scene.progresses("kept"),
        after=lambda scene: scene.run("drain", "set", NODE, "--deadline", "none", "--rate", "none"),
        code=6,
    ),
    "to be aborted": Step(
        (*SOON, *SLOW, "--deadline", "3s", "--on-deadline", "abort"),
        lambda scene: scene.says("moved 1 "),
        end="active",
        code=8,
        away=3.5,
    ),
    "taken back, and not heard of": Step(
        (*SOON, *SLOW), _take_back_unheard, after=_resume, end="active", code=8, anew=4
    ),
}
_IN_ONE = (
    "asked for, and not heard of",
    "out of the slots",
    "waiting for a permit",
    "permitted",
    "moving",
    "empty",
    "drained",
)


@dataclass(frozen=True, slots=True)
class Course:
    """One drain, in which somebody dies at each of these steps; it is asked for as the `main` one wants it."""

    steps: tuple[Step, ...]
    main: Step


IN_ONE = {"every step of one drain": Course(tuple(STEPS[name] for name in _IN_ONE), STEPS["permitted"])}
EACH = {name: Course((step,), step) for name, step in STEPS.items()}
DEATHS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "the agent": lambda scene: scene.kill_agent(),
    "the operator": lambda scene: scene.kill_operator(),
    "etcd": lambda scene: scene.kill_etcd(),
}
