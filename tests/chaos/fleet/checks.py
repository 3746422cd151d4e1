"""What must not happen in a fleet, looked for in its history. Pure, so that known-bad histories can test it.

The history has the words of the agents (`topology`, `session`, `begin`, `end`, `write`), of etcd (`node`, `intent`,
`candidate`, `landed`, and `topology` by who is called etcd), and of who broke things: `cause` says from when to when a
node may have been counted out with good reason, `lag` that its process didn't get to run, `load` that the
machine has more to do than it can, `rebuilding` and `rebuilt` that etcd lost its history on purpose.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from clusterd.testing import Record, disagreements
from tests.chaos.fleet.names import EVERYBODY, WITNESS
from tests.chaos.history import History, Landed, Tenure, TermSpan, Write

STARVED_SECONDS = 1.0
"""A process that didn't get to run for so long is as good as paused: the machine did that, not we."""

CROWDED = 1.5
"""Processes that wait for each core, from which on a node may fail to renew in time for lack of one."""

_TAIL_SECONDS = 3.0
_SHOWN = 20
_LEAST_MOMENTS = 5
_MOST_GROWTH = 1.3

Changes = dict[str, list[Record]]


def problems(history: Sequence[Record], *, slack: float) -> list[str]:
    """Return what must not happen and did; `slack` is the seconds for which a cause may show late."""
    found = [*told(history), *departures(history, slack)]
    for epoch in epochs(history):
        found += [*disagreements(epoch.records), *flashes(epoch), *serving(epoch)]
        for name, contest in elections(epoch, killings(history)).items():
            found += [f"{name}: {problem}" for problem in contest.problems()]
    return found


@dataclass(slots=True)
class Epoch:
    """One history of etcd: what was seen of it from `begin` on, until it was rebuilt at `end`."""

    begin: float
    settled: float
    end: float = float("inf")
    records: list[Record] = field(default_factory=list)


def epochs(history: Iterable[Record]) -> list[Epoch]:
    """Split a history where etcd was rebuilt.

    An agent that was paused may speak of the old one for a while: what agents say counts once all had seen the new one.
    """
    found: list[Epoch] = []
    current = Epoch(0.0, 0.0)
    for record in history:
        match record.kind:
            case "rebuilding":
                current.end = record.at
                found.append(current)
                current = Epoch(record.at, float("inf"))
            case "rebuilt":
                current.settled = record.at
            case _ if record.at >= current.settled or record.who == WITNESS or record.kind in _OF_ETCD:
                current.records.append(record)
    return [*found, current]


_OF_ETCD = {"epoch", "node", "intent", "candidate", "resigned", "landed"}


def told(history: Iterable[Record]) -> Iterator[str]:
    """Return what the driver saw with its own eyes."""
    return (f"{record.who}: {record.facts['text']}" for record in history if record.kind == "violation")


def departures(history: Iterable[Record], slack: float) -> list[str]:
    """Return the nodes that disappeared from a topology without a cause."""
    causes = _causes(history)
    found: list[str] = []
    for observer, before, after in _steps(history):
        for node in sorted(set(before.facts["nodes"]) - set(after.facts["nodes"])):
            reasons = causes[node] + causes[EVERYBODY]
            if not any(since <= after.at <= until + slack for since, until in reasons):
                found.append(
                    f"{node} left the topology of {observer} at {after.at:.3f} (revision {after.facts['revision']}) "
                    "without a cause"
                )
    return found


def flashes(epoch: Epoch) -> Iterator[str]:
    """Yield where a node said that it is active while an intent was in force that it had to know of."""
    intents: dict[str, int] = {}
    for record in epoch.records:
        revision = record.facts.get("revision", 0)
        if record.kind == "intent":
            intents[record.who] = revision if record.facts["put"] and record.facts["id"] else 0
        elif record.kind == "node" and record.facts["put"] and record.facts["state"] == "active":
            placed = intents.get(record.who, 0)
            if placed and not record.facts["foreign"] and revision > placed:
                yield f"{record.who} became active at revision {revision}, under the intent of revision {placed}"


def serving(epoch: Epoch) -> Iterator[str]:
    """Yield the topologies in which a node owned slots that was out of them by its intent.

    Who was cut off while that node went out of service and left, and finds the history of it compacted, can't know: it
    keeps the node `unconfirmed` for a TTL as it last saw it.
    """
    spans = _out_of_service(epoch)
    knows: set[tuple[str, str, int]] = set()
    for record in epoch.records:
        if record.kind != "topology":
            continue
        revision, active = record.facts["revision"], set(record.facts["active"])
        for node, node_spans in spans.items():
            since = next((since for since, until in node_spans if since <= revision < until), None)
            if since is None:
                continue
            if node not in active:
                knows.add((record.who, node, since))
            elif node not in record.facts["unconfirmed"] or (record.who, node, since) in knows:
                yield f"{record.who} has {node} in the slots at revision {revision}, after its intent took effect"


def elections(epoch: Epoch, killed: dict[str, list[float]]) -> dict[str, History]:
    """Return the history of each election, to be judged as `tests.chaos.history` does."""
    found: dict[str, History] = defaultdict(History)
    begun: dict[str, Record] = {}
    keys: dict[tuple[str, str], Tenure] = {}
    start = 0
    for record in epoch.records:
        name = record.facts.get("election", "")
        match record.kind:
            case "begin":
                if earlier := begun.get(record.who):
                    _close(found, earlier, _killed_after(earlier, killed, epoch.end))
                begun[record.who] = record
            case "end" if begin := begun.pop(record.who, None):
                _close(found, begin, min(record.facts["end"], epoch.end), record.facts["reason"])
            case "write" if record.at < epoch.end - _TAIL_SECONDS and _of_this(epoch, record, start):
                found[name].writes.append(Write(record.facts["text"], record.facts["fence"], record.facts["outcome"]))
            case "epoch":
                start = record.facts["revision"]
            case "landed" if _of_this(epoch, record, start):
                facts = record.facts
                found[name].landed.append(Landed(facts["text"], facts["fence"], facts["revision"]))
            case "candidate":
                _stand(found[name], keys, (name, record.who), record)
    for begin in begun.values():
        _close(found, begin, _killed_after(begin, killed, epoch.end))
    return found


def _of_this(epoch: Epoch, record: Record, start: int) -> bool:
    """Whether a write was of a term that began in this epoch: a restored key lets one of a lost history go on."""
    return epoch.settled == 0.0 or bool(record.facts["fence"] > start)


def killings(history: Iterable[Record]) -> dict[str, list[float]]:
    """Return by node when its process was killed: from then on it can have done nothing."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in history:
        if record.kind == "killed":
            for node in record.facts["nodes"]:
                found[node].append(record.at)
    return found


def _causes(history: Iterable[Record]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    crowded = False
    for record in history:
        if record.kind == "load":
            crowded = record.facts["load"] > CROWDED * record.facts["cores"]
        elif record.kind == "session" and crowded and record.facts["state"] != "connected":
            found[record.who].append((record.at, record.at))
        elif record.kind == "cause":
            found[record.who].append((record.facts["since"], record.facts["until"]))
        elif record.kind == "lag" and record.facts["seconds"] >= STARVED_SECONDS:
            found[record.who].append((record.at - record.facts["seconds"], record.at))
    return found


def _steps(history: Iterable[Record]) -> Iterator[tuple[str, Record, Record]]:
    """Yield each agent's topologies in pairs that follow on each other; a new instance starts anew."""
    last: dict[str, Record] = {}
    for record in history:
        if record.kind == "started":
            last.pop(record.who, None)
        elif record.kind == "topology" and record.who != WITNESS:
            if before := last.get(record.who):
                yield record.who, before, record
            last[record.who] = record


def _out_of_service(epoch: Epoch) -> dict[str, list[tuple[int, float]]]:
    """Return by node the revisions from the first record that obeyed an intent to the next that was active."""
    spans: dict[str, list[tuple[int, float]]] = defaultdict(list)
    intents: dict[str, bool] = {}
    since: dict[str, int] = {}
    for record in epoch.records:
        if record.kind == "intent":
            intents[record.who] = bool(record.facts["put"] and record.facts["id"])
        elif record.kind == "node" and record.facts["put"]:
            node, revision = record.who, record.facts["revision"]
            if record.facts["state"] == "active":
                if node in since:
                    spans[node].append((since.pop(node), revision))
            elif intents.get(node):
                since.setdefault(node, revision)
    for node, revision in since.items():
        spans[node].append((revision, float("inf")))
    return spans


def _close(found: dict[str, History], begin: Record, end: float, reason: str = "its process was killed") -> None:
    term = TermSpan(begin.who, begin.facts["fence"], begin.at, end, reason)
    found[begin.facts["election"]].terms.append(term)


def _killed_after(begin: Record, killed: dict[str, list[float]], end: float) -> float:
    return min((at for at in killed.get(begin.who, ()) if at >= begin.at), default=end)


def _stand(contest: History, keys: dict[tuple[str, str], Tenure], key: tuple[str, str], record: Record) -> None:
    """Note that a candidate's key came or went."""
    if record.facts["put"]:
        tenure = Tenure(record.facts["created"])
        if keys.get(key) != tenure:
            keys[key] = tenure
            contest.tenures.append(tenure)
    elif (before := keys.pop(key, None)) is not None:
        contest.tenures[contest.tenures.index(before)] = Tenure(before.fence, record.facts["revision"])


def growth(memory: Sequence[int]) -> list[str]:
    """Return what grew: the memory in bytes at the quiet moments of a run, of which the first is a cold start."""
    if len(memory) < _LEAST_MOMENTS:
        return []
    before, after = statistics.median(memory[1:3]), statistics.median(memory[-2:])
    return [f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB"] if after > _MOST_GROWTH * before else []


def summary(found: Sequence[str]) -> str:
    """Return the problems for people: not all of a thousand that are alike."""
    more = [f"… and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join([*found[:_SHOWN], *more])
