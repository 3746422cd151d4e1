"""Routing beside uhashring and tooz's hash ring, in one process and on the same keys.

    python -m bench.routing

Contenders take turns in every round, and each figure is the median of the rounds, in CPU time: what else the machine
does hits all of them alike, so the ratios hold better than the times.
"""

from __future__ import annotations

import gc
import os
import platform
import time
import tracemalloc
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import TypeAlias

import numpy as np
from tooz.hashring import HashRing as ToozRing
from uhashring import HashRing

from clusterd import Change, Node, Topology
from clusterd.routing import SLOTS

KEYS = [f"user-{i}" for i in range(20_000)]
SIZES = (10, 100, 1000)
ROUNDS = 9
MIXED = tuple(range(1, 11))

Call: TypeAlias = Callable[[], object]
Table: TypeAlias = tuple[str, Sequence[str], list[list[str]]]


def main() -> None:
    print(f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores\n")
    for table in (lookups, changes, memory, balance, movement):
        print_table(*table())


def lookups() -> Table:
    """Time per lookup of a str key."""
    rows = []
    for size in SIZES:
        topology, ring, tooz = of(size), HashRing(names(size)), ToozRing(names(size))
        topology.owner("")
        times = interleaved(
            {
                "uhashring": each(ring.get_node),
                "tooz": each(lambda key, ring=tooz: ring.get_nodes(key.encode())),
                "owner": each(topology.owner),
                "route": each(topology.route),
                "owners": lambda topology=topology: topology.owners(KEYS),
            }
        )
        rows.append([f"{size}", *against(times, "uhashring", scale=1e9 / len(KEYS))])
    heads = (
        "nodes",
        "uhashring",
        "tooz",
        "`topology.owner`",
        "`topology.route`",
        "`topology.owners`, all keys in one call",
    )
    return "Lookups, ns per key (times as fast as uhashring)", heads, rows


def changes() -> Table:
    """Time to be ready to route again after a change, and to start from nothing, at 1,000 nodes."""
    topology, joined = of(1000), node(1000)
    after = topology.evolve([joined], (), 2, cluster_id=0)
    ring, tooz = HashRing(names(1000)), ToozRing(names(1000))
    for known in (topology, after):
        known.owner("")
    times = interleaved(
        {
            "join uhashring": lambda: ring.add_node(joined.id),
            "join tooz": lambda: tooz.add_node(joined.id),
            "join clusterd": lambda: topology.evolve([joined], (), 2, cluster_id=0).owner(""),
            "leave uhashring": lambda: ring.remove_node(joined.id),
            "leave tooz": lambda: tooz.remove_node(joined.id),
            "leave clusterd": lambda: after.evolve((), [joined.id], 3, cluster_id=0).owner(""),
            "from nothing uhashring": lambda: HashRing(names(1000)),
            "from nothing tooz": lambda: ToozRing(names(1000)),
            "from nothing clusterd": lambda: of(1000).owner(""),
            "what moved": lambda: Change.between(topology, after).moved,
        }
    )
    rows = []
    for what in ("join", "leave", "from nothing"):
        those = {who: times[f"{what} {who}"] for who in ("uhashring", "tooz", "clusterd")}
        rows.append([what, *against(those, "uhashring", scale=1e3)])
    rows.append(["what moved", "", "", f"{times['what moved'] * 1e3:,.1f}"])
    return "Changes at 1,000 nodes, ms (times as fast as uhashring)", ("", "uhashring", "tooz", "clusterd"), rows


def memory() -> Table:
    """Memory that one more topology, or ring, takes."""
    of(10).owner("")
    figures = [
        allocated(lambda: [HashRing(names(1000))]),
        allocated(lambda: [ToozRing(names(1000))]),
        allocated(lambda: followed(11)) - allocated(lambda: followed(1)),
    ]
    row = ["", *(f"{figure / 1e6:,.2f}" for figure in (*figures[:2], figures[2] / 10))]
    return "Memory per topology kept at 1,000 nodes, MB", ("", "uhashring", "tooz", "clusterd"), [row]


def balance() -> Table:
    """The largest share over the fair one, of the hash space."""
    rows = []
    for label, weights in (("equal", (1,)), ("1 to 10", MIXED)):
        for size in SIZES:
            weight = {name: weights[i % len(weights)] for i, name in enumerate(names(size))}
            figures = [
                worst(share, weight) for share in (uhashring_shares(weight), tooz_shares(weight), shares(weight))
            ]
            rows.append([f"{size}, {label}", *(f"{figure:.3f}" for figure in figures)])
    return "Largest share over the fair one", ("nodes, weights", "uhashring", "tooz", "clusterd"), rows


def movement() -> Table:
    """Slots that moved over the fewest that had to, for several joins, leaves and changes of weight."""
    rows = []
    for label, weights in (("equal", (4,)), ("1 to 10", MIXED)):
        for size in SIZES:
            kinds = zip(*(moved_over_least(size, weights, at) for at in range(8)), strict=True)
            rows.append([f"{size}, {label}", *(f"{mean(kind):.3f} (worst {max(kind):.3f})" for kind in kinds)])
    return "Slots moved over the fewest possible", ("nodes, weights", "join", "leave", "weight doubled"), rows


def moved_over_least(size: int, weights: Sequence[int], at: int) -> list[float]:
    """Return the figure for a join, a leave and a doubled weight."""
    fleet = [node(i, weights[i % len(weights)]) for i in range(size)]
    before, who = Topology.of(fleet), fleet[at * size // 8]
    joined, doubled = node(size + at, who.weight), who.replace(weight=2 * who.weight)
    found = []
    for puts, deletes in (([joined], ()), ([], [who.id]), ([doubled], ())):
        moved = Change.between(before, before.evolve(puts, deletes, 2, cluster_id=0)).moved
        changed = puts[0].id if puts else who.id
        found.append(len(moved) / abs(len(moved.arriving(changed)) - len(moved.leaving(changed))))
    return found


def node(number: int, weight: int = 100) -> Node:
    return Node(id=f"gw-{number}", address="10.0.0.1:80", weight=weight, zone="abc"[number % 3])


def names(size: int) -> list[str]:
    return [f"gw-{i}" for i in range(size)]


def of(size: int) -> Topology:
    return Topology.of(map(node, range(size)))


def followed(count: int) -> list[Topology]:
    """Return that many topologies of 1,000 nodes and a few, each from the one before, all of them routed."""
    kept = [of(1000)]
    for revision in range(1, count):
        kept[-1].owner("")
        kept.append(kept[-1].evolve([node(1000 + revision)], (), revision, cluster_id=0))
    kept[-1].owner("")
    return kept


def each(look_up: Callable[[str], object]) -> Call:
    """Return a call that looks up all keys, one at a time."""

    def run() -> None:
        for key in KEYS:
            look_up(key)

    return run


def interleaved(calls: dict[str, Call]) -> dict[str, float]:
    """Return the median CPU seconds of each call, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: median(taken) for name, taken in times.items()}


def against(times: dict[str, float], peer: str, scale: float) -> list[str]:
    """Return each time, with how many times as fast as the peer's it is."""
    return [
        f"{taken * scale:,.{0 if scale > 1e3 else 1}f}" + (f" ({times[peer] / taken:.1f}×)" if who != peer else "")
        for who, taken in times.items()
    ]


def allocated(make: Callable[[], Sequence[object]]) -> int:
    """Return the bytes held by what `make` returns."""
    gc.collect()
    tracemalloc.start()
    kept = make()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept
    return held


def shares(weight: dict[str, int]) -> dict[str, float]:
    fleet = Topology.of(Node(id=name, address="10.0.0.1:80", weight=w) for name, w in weight.items())
    return {name: share.slots / SLOTS for name, share in fleet.shares().items()}


def uhashring_shares(weight: dict[str, int]) -> dict[str, float]:
    ring = HashRing(nodes=weight)
    return arcs([point for point, _ in ring.get_points()], dict(ring.get_points()), 2**128)


def tooz_shares(weight: dict[str, int]) -> dict[str, float]:
    ring = ToozRing([])
    for name, value in weight.items():
        ring.add_node(name, value)
    return arcs(ring._partitions, ring._ring, 2**128)  # noqa: SLF001 - it has no public way to its points


def arcs(points: Sequence[int], owners: dict[int, str], space: int) -> dict[str, float]:
    """Return each node's share of a ring: the arcs that end in its points."""
    found: dict[str, float] = {}
    for before, point in zip([points[-1] - space, *points[:-1]], points, strict=True):
        found[owners[point]] = found.get(owners[point], 0) + (point - before) / space
    return found


def worst(found: dict[str, float], weight: dict[str, int]) -> float:
    return max(found.get(name, 0) * sum(weight.values()) / own for name, own in weight.items())


def print_table(title: str, heads: Sequence[str], rows: list[list[str]]) -> None:
    """Print a table as Markdown, which is how docs/performance.md has it."""
    print(f"{title}:\n")
    for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows):
        print(f"| {' | '.join(row)} |")
    print(flush=True)


if __name__ == "__main__":
    main()
