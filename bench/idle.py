"""What an idle agent costs: CPU and memory beside a bare aiohttp process that holds one quiet watch.

    python -m bench.idle [--seconds S] [--nodes N] [--copies N]

Agents at TTL 10 s in a fleet of registrations that nobody changes; several processes of each kind at once, medians.
The second bare process also imports every package that clusterd imports, so that what is clusterd's own shows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from bench import rig
from clusterd import EtcdOptions
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd

_BARE, _IMPORTS, _AGENT = "bare aiohttp", "the same, with clusterd's dependencies imported", "clusterd agent"
_SETTLE_SECONDS = 5.0


def dependencies() -> str:
    """Return the other packages' top-level modules that are loaded in a process that imports clusterd."""
    known = ("aiohttp", "etcd3", "msgspec", "numpy", "semantic_version", "tenacity", "xxhash", "yaml")
    return ",".join(name for name in known if name in sys.modules)


async def measure(seconds: float, nodes: int, copies: int) -> dict[str, list[dict[str, Any]]]:
    """Return what each process says of itself, by kind."""
    async with EmbeddedEtcd() as etcd:
        async with Client(EtcdOptions.of(etcd.endpoint)) as client:
            await rig.register(client, nodes - copies)
        commands = {
            _BARE: ("peers", "idle", etcd.endpoint),
            _IMPORTS: ("peers", "idle", etcd.endpoint, dependencies()),
            _AGENT: ("agents", "idle", etcd.endpoint),
        }
        kinds = list(commands) * copies
        async with rig.workers(*(commands[kind] for kind in kinds)) as workers:
            await asyncio.sleep(_SETTLE_SECONDS)
            rig.progress(f"watching {len(workers)} processes do nothing for {seconds:g} s")
            for worker in workers:
                worker.cue()
            await asyncio.sleep(seconds)
            for worker in workers:
                worker.cue()
            figures = [await worker.heard() for worker in workers]
    return {kind: [figure for of, figure in zip(kinds, figures, strict=True) if of == kind] for kind in commands}


def report(seconds: float, nodes: int, found: dict[str, list[dict[str, Any]]]) -> None:
    names = ("cpu", "rss", "pss", "private")
    medians = {kind: {name: rig.median([one[name] for one in ones]) for name in names} for kind, ones in found.items()}
    bare = medians[_BARE]
    rows = [
        (
            kind,
            f"{of['cpu'] / seconds:.3%}",
            *(f"{of[name] / 2**20:.1f} MiB (+{(of[name] - bare[name]) / 2**20:.1f})" for name in names[1:]),
        )
        for kind, of in medians.items()
    ]
    columns = ["", "CPU, of a core", "RSS (over bare)", "PSS", "private"]
    rig.show(f"Idle for {seconds:g} s at TTL 10 s, {nodes} nodes", columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--copies", type=int, default=3)
    options = parser.parse_args()
    report(options.seconds, options.nodes, asyncio.run(measure(options.seconds, options.nodes, options.copies)))


if __name__ == "__main__":
    main()
