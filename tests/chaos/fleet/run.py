"""A fleet of agents on an etcd with auth and TLS, under faults of every kind, and the verdict on its history.

`python -m tests.chaos.fleet.run --seconds 180 --seed N` exits 1 if something happened that must not, and says what. A
run is made of rounds: faults for a while, by three hands at once (of etcd, of nodes, of operators), then quiet, in
which all agents must agree on what etcd has. The seed makes the schedule the same, not the timing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from clusterd.testing import AdminError, EtcdBinary, read_history
from tests.chaos.fleet.checks import growth, problems, summary
from tests.chaos.fleet.etcd_faults import EtcdFaults
from tests.chaos.fleet.node_faults import NodeFaults
from tests.chaos.fleet.operators import REFUSALS, Operators
from tests.chaos.fleet.settling import Settling, leave
from tests.chaos.fleet.stage import Plan, Stage, now, play

_REFUSED = (AdminError, aiohttp.ClientError, TimeoutError)


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    faults: Counter[str] = field(default_factory=Counter)
    convergence: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    records: Counter[str] = field(default_factory=Counter)
    lags: list[float] = field(default_factory=list)
    load: float = 0.0


class Run:
    """One run, round by round."""

    def __init__(self, stage: Stage, outcome: Outcome) -> None:
        self._stage = stage
        self._outcome = outcome
        self._etcd = EtcdFaults(stage)
        self._nodes = NodeFaults(stage)
        self._operators = Operators(stage)
        self._settling = Settling(stage, self._operators)

    async def go(self) -> None:
        """Play all rounds, and end with all nodes active and then all gone."""
        plan = self._stage.plan
        await self._settle("the start")
        end = now() + plan.seconds
        while now() < end:
            await self._round(min(now() + plan.round_seconds, end))
            if plan.rare:
                await self._rebuild(self._stage.rng.choice(EtcdFaults.rare))
        await self._settling.patiently(self._operators.take_all_back)
        await self._settle("all intents were withdrawn")
        await leave(self._stage)

    async def _round(self, until: float) -> None:
        self._be_busy(busy=True)
        etcd = [name for name in EtcdFaults.usual if name != "cut_a_member_off" or self._stage.partitionable]
        await asyncio.gather(
            self._hand(self._etcd, etcd, until, 1.5),
            self._hand(self._nodes, NodeFaults.usual, until, 1.0),
            self._hand(self._operators, Operators.usual, until, 0.6),
        )
        self._be_busy(busy=False)
        await self._settle("a round")

    def _be_busy(self, *, busy: bool) -> None:
        for host in self._stage.hosts:
            host.busy = busy
            host.tell()

    async def _rebuild(self, name: str) -> None:
        self._operators.forget()
        await getattr(self._etcd, name)()
        self._outcome.faults[name] += 1
        await self._settle(name)
        self._stage.recorder.note("rebuilt")

    async def _hand(self, actor: Any, names: Sequence[str], until: float, pace: float) -> None:
        """Do one thing after the other until then; what etcd can't do just now isn't done."""
        while now() < until:
            await asyncio.sleep(self._stage.rng.uniform(0.1, 2 * pace))
            name, since = self._stage.rng.choice(names), now()
            try:
                await getattr(actor, name)()
            except (*_REFUSED, *REFUSALS) as error:
                self._stage.recorder.note("not done", name, since=since, error=str(error))
            else:
                self._outcome.faults[name] += 1
                self._stage.recorder.note("done", name, since=since)

    async def _settle(self, after: str) -> None:
        seconds, memory = await self._settling.settle(after)
        self._outcome.convergence.append(seconds)
        self._outcome.memory.append(memory)


async def run(plan: Plan, directory: Path, binary: EtcdBinary | None = None) -> Outcome:
    """Play a run in a directory of its own; return what came of it."""
    outcome = Outcome()
    async with play(plan, directory, binary) as stage:
        await Run(stage, outcome).go()
    history = read_history(*(host.history for host in stage.hosts), stage.history)
    outcome.problems = [*problems(history, slack=plan.bound), *growth(outcome.memory)]
    outcome.records = Counter(record.kind for record in history)
    outcome.lags = sorted(record.facts["seconds"] for record in history if record.kind == "lag")
    outcome.load = max(record.facts["load"] for record in history if record.kind == "load")
    return outcome


def describe(outcome: Outcome) -> str:
    """Sum up a run for people."""
    megabytes = [round(bytes_ / 1e6) for bytes_ in outcome.memory]
    lines = [
        f"faults: {dict(sorted(outcome.faults.items()))}",
        f"seconds until all agreed again: {', '.join(f'{seconds:.1f}' for seconds in outcome.convergence)}",
        f"memory of a process with several agents, in MB: {megabytes}",
        f"history: {dict(sorted(outcome.records.items()))}",
        f"agents that didn't get to run for a while: {len(outcome.lags)}, most {max(outcome.lags, default=0):.1f} s",
        f"most processes that wanted to run at once: {outcome.load:.0f}",
        f"problems: {len(outcome.problems)}",
    ]
    return "\n".join([*lines, summary(outcome.problems)]).rstrip()


@contextlib.contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept
        return
    made = Path(tempfile.mkdtemp(prefix="clusterd-chaos-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def _main(given: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # and clean up
    size = {"groups": given.groups, "group": given.group}
    plan = Plan(given.seed, seconds=given.seconds, ttl=given.ttl, patience=given.patience, **size)
    with _directory(given.keep) as directory:
        outcome = await run(plan, directory)
    print(describe(outcome))
    return 1 if outcome.problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--ttl", type=int, default=5)
    parser.add_argument("--groups", type=int, default=5, help="processes with several agents")
    parser.add_argument("--group", type=int, default=9, help="agents in each of them")
    parser.add_argument("--patience", type=float, default=1.0, help="times as long for all to agree: a busy machine")
    parser.add_argument("--keep", type=Path, help="a directory to be made for the histories and logs, and left")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    return asyncio.run(_main(given))


if __name__ == "__main__":
    sys.exit(main())
