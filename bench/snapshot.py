"""A snapshot of 10,000 registrations: from etcd's reply to a `Topology`, beside etcd3-py and json.loads + base64.

python -m bench.snapshot [--nodes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import etcd3
import semantic_version

from bench import rig
from clusterd import EtcdOptions, Topology
from clusterd.etcd.client import Client
from clusterd.etcd.embedded import EmbeddedEtcd
from clusterd.etcd.messages import decode_range
from clusterd.keys import range_end
from clusterd.view import FleetView

_FIRST, _END = rig.KEYS.nodes, range_end(rig.KEYS.nodes)
_QUERY = {"key": base64.b64encode(_FIRST).decode(), "range_end": base64.b64encode(_END).decode()}


class Etcd3(etcd3.AioClient):
    """etcd3-py's client as it is, but for the constructor: that asks for the version in a way that blocks the loop."""

    def _retrieve_version(self) -> None:
        self.server_version = self.cluster_version = "3.5.1"
        self.server_version_sem = self.cluster_version_sem = semantic_version.Version("3.5.1")

    def decoded(self, body: bytes) -> Any:
        """Decode a reply's body exactly as its `range` does once it has the bytes."""
        return self._modelizeResponseData("/kv/range", json.loads(body), True)


def topology_of(reply: Any) -> Topology:
    """What the agent does with a list."""
    return FleetView(10, rig.KEYS.node_id, 0.0).snapshot(reply, 1.0).after


def plain(body: bytes) -> list[tuple[bytes, bytes]]:
    """The least that the standard library can do with a reply: its keys and values, the values left as bytes."""
    return [(base64.b64decode(kv["key"]), base64.b64decode(kv["value"])) for kv in json.loads(body)["kvs"]]


async def timed(act: Callable[[], Any]) -> float:
    """Return the seconds that `act` takes; the garbage of others is collected before."""
    gc.collect()
    started = time.perf_counter()
    result = act()
    if isinstance(result, Awaitable):
        await result
    return time.perf_counter() - started


async def compare(sides: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """Run the sides in turn, each so many times a round, and return their medians."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (act, repeats) in sides.items():
            for _ in range(repeats):
                times[name].append(await timed(act))
    return {name: rig.median(found) for name, found in times.items()}


async def measure(count: int, rounds: int) -> None:
    async with EmbeddedEtcd() as etcd, Client(EtcdOptions.of(etcd.endpoint)) as client, aiohttp.ClientSession() as bare:
        rig.progress(f"registering {count} nodes")
        await rig.register(client, count)
        url = f"{etcd.endpoint}/v3/kv/range"

        async def fetch() -> bytes:
            async with bare.post(url, json=_QUERY) as response:
                return await response.read()

        async def ours() -> Topology:
            return topology_of(await client.range(_FIRST, _END, timeout=60))

        async def least() -> Any:
            return plain(await fetch())

        port = urlsplit(etcd.endpoint).port
        async with Etcd3("127.0.0.1", port) as peer:
            body = await fetch()
            check(body, peer, count)
            rig.progress(f"measuring {rounds} rounds; etcd3-py takes its time")
            decoding = await compare(
                {
                    "clusterd, to a Topology": (lambda: topology_of(decode_range(body, url)), 5),
                    "json.loads + base64": (lambda: plain(body), 5),
                    "etcd3-py's own decoding": (lambda: peer.decoded(body), 1),
                },
                rounds,
            )
            wire = await compare(
                {
                    "clusterd, to a Topology": (ours, 5),
                    "json.loads + base64": (least, 5),
                    "etcd3-py's range": (lambda: peer.range(_FIRST, range_end=_END), 1),
                },
                rounds,
            )
    report(f"A list of {count} nodes, from the reply's {len(body):,} bytes", decoding)
    report(f"A list of {count} nodes, from the request on", wire)


def check(body: bytes, peer: Etcd3, count: int) -> None:
    """See that all sides decode the same thing."""
    topology = topology_of(decode_range(body, ""))
    assert len(topology) == count == len(plain(body)) == len(peer.decoded(body).kvs)
    assert not any(node.foreign for node in topology)
    assert topology.nodes["gw-00007"].replace(lease=0, mod_revision=0) == rig.node(7)


def report(title: str, medians: dict[str, float]) -> None:
    ours = next(iter(medians.values()))
    rows = [(name, rig.ms(took), f"{took / ours:.2f}×") for name, took in medians.items()]
    rig.show(title, ["", "median", "of clusterd's"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    asyncio.run(measure(options.nodes, options.rounds))


if __name__ == "__main__":
    main()
