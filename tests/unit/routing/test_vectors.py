"""docs/routing-vectors.json, which other languages are held to, holds for this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from clusterd import Topology
from clusterd.routing import slot_of
from clusterd.routing.members import capacities, members_of
from clusterd.routing.ranking import ranking
from tests.unit.routing import routing_reference as reference
from tests.unit.routing.fleets import node

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[3] / "docs" / "routing-vectors.json").read_text("utf-8"))


def test_keys() -> None:
    for vector in VECTORS["keys"]:
        assert slot_of(bytes.fromhex(vector["key_hex"])) == vector["slot"]


def test_nodes() -> None:
    for vector in VECTORS["nodes"]:
        members = members_of([node(vector["id"])], ranking())
        assert members.keys[:, 0].tolist() == vector["permutation_keys"]
        assert members.phases.tolist() == [vector["phase"]]


def test_ranks() -> None:
    for vector in VECTORS["ranks"]:
        keys = members_of([node(vector["id"])], ranking()).keys
        assert ranking().ranks(np.array([vector["slot"]]), keys).tolist() == [vector["rank"]]


def test_waits() -> None:
    for vector in VECTORS["waits"]:
        assert ranking().scores(np.array([vector["rank"]]), np.int64(1 << 20)).tolist() == [vector["wait"]]


@pytest.mark.parametrize("vector", VECTORS["fleets"], ids=lambda vector: vector["name"])
def test_fleets(vector: dict[str, Any]) -> None:
    nodes = [node(*fields) for fields in vector["nodes"]]
    topology = Topology.of(nodes)
    assert [share.slots for share in topology.shares().values()] == vector["owned"]
    assert capacities(members_of(nodes, ranking()), topology.slots).tolist() == vector["capacities"]
    owners = topology.table.get().owners.astype("<u2").tobytes()
    assert f"{xxh3_64_intdigest(owners):016x}" == vector["owners_xxh3_64"]
    for route in vector["routes"]:
        key = bytes.fromhex(route["key_hex"])
        assert topology.route(key).slot == route["slot"]
        assert [found.id for found in topology.route(key).nodes] == [route["owner"]]
        assert [found.id for found in topology.route(key, 4).nodes] == route["nodes_4"]
        assert [found.id for found in topology.route(key, 4, "b").nodes] == route["nodes_4_zone_b"]


def test_some_nodes_of_the_vectors_are_full() -> None:
    """Else they would not show what a full node does."""
    fleet = VECTORS["fleets"][-1]
    full = [owned == most for owned, most in zip(fleet["owned"], fleet["capacities"], strict=True)]
    assert 3 < sum(full) < len(full) / 2


def test_the_script_that_makes_them_says_the_same_of_what_is_quick_to_say() -> None:
    assert [reference.slot_of(bytes.fromhex(v["key_hex"])) for v in VECTORS["keys"]] == [
        v["slot"] for v in VECTORS["keys"]
    ]
    assert [reference.rank(v["slot"], v["id"]) for v in VECTORS["ranks"]] == [v["rank"] for v in VECTORS["ranks"]]
