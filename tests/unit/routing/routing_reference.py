"""Routing as docs/protocol.md specifies it, in plain Python: slow, and sharing nothing with the code that it checks.

Run as a script, it prints docs/routing-vectors.json:

    python tests/unit/routing/routing_reference.py > docs/routing-vectors.json
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

BITS = 18
MULTIPLIERS = (162011, 112755, 182757)


class Member(NamedTuple):
    id: str
    weight: int
    zone: str = ""


def slot_of(key: bytes) -> int:
    return xxh3_64_intdigest(key) >> 64 - BITS


def permutation_keys(node_id: str, bits: int = BITS) -> list[int]:
    return [(xxh3_64_intdigest(node_id.encode()) >> BITS * i) % (1 << bits) for i in range(3)]


def phase(node_id: str) -> int:
    return xxh3_64_intdigest(node_id.encode()) >> 56


def rank(slot: int, node_id: str, bits: int = BITS) -> int:
    x = slot
    for key, multiplier in zip(permutation_keys(node_id, bits), MULTIPLIERS, strict=True):
        x = (x ^ key) * multiplier % (1 << bits)
        x ^= x >> (bits + 1) // 2
    return x


def slot_at(rank_: int, keys: Sequence[int], bits: int = BITS) -> int:
    x = rank_
    for key, multiplier in zip(reversed(keys), reversed(MULTIPLIERS), strict=True):
        x ^= x >> (bits + 1) // 2
        x = x * pow(multiplier, -1, 1 << bits) % (1 << bits) ^ key
    return x


def waits(bits: int = BITS) -> list[int]:
    found, total = [], 0
    for j in range(1 << bits):
        step = (1 << 36) // ((1 << bits) - j)
        total += step
        found.append(total - step // 2)
    return found


def capacity(member: Member, members: Sequence[Member], bits: int = BITS) -> int:
    slots, total = 1 << bits, sum(m.weight for m in members)
    bound = 256 * slots * (20880 + len(members)) * member.weight // (20000 * total)
    return max(-(-slots * member.weight // total), (bound - phase(member.id)) // 256)


def owners(members: Sequence[Member], bits: int = BITS) -> list[int]:
    """Return the position of each slot's owner among the members, which are in the order of their ids."""
    room = [capacity(member, members, bits) for member in members]
    found = [-1] * (1 << bits)
    left = len(found)
    table = waits(bits)
    for _, node, slot in heapq.merge(*(_bids(node, member, table, bits) for node, member in enumerate(members))):
        if found[slot] < 0 and room[node]:
            found[slot] = node
            room[node] -= 1
            left -= 1
            if not left:
                break
    return found


def route(members: Sequence[Member], owner: int, slot: int, n: int, zone: str | None = None) -> list[str]:
    table, turns, ranked = waits(), Counter[str](), []
    home = members[owner].zone
    by_score = sorted(((table[rank(slot, m.id)] << 20) // m.weight, i, m) for i, m in enumerate(members) if i != owner)
    for score, i, member in by_score:
        tier = 0 if member.zone == zone else 2 if member.zone == home else 1
        ranked.append((tier, turns[member.zone], score, i))
        turns[member.zone] += 1
    return [members[owner].id, *(members[i].id for _, _, _, i in sorted(ranked)[: n - 1])]


def _bids(node: int, member: Member, table: list[int], bits: int) -> Iterator[tuple[int, int, int]]:
    keys = permutation_keys(member.id, bits)
    return (((wait << 20) // member.weight, node, slot_at(r, keys, bits)) for r, wait in enumerate(table))


_FLEETS = {
    "one node": [Member("gw-1", 100)],
    "three equal nodes in two zones": [Member("gw-1", 100, "a"), Member("gw-2", 100, "b"), Member("gw-3", 100, "b")],
    "weights from 1 to a million": [Member("big", 1_000_000), Member("mid", 250_000), Member("small", 1)],
    "two hundred nodes of mixed weights, some of them full": sorted(
        Member(f"gw-{i}.example", (1, 10)[i % 2], "abc"[i % 3]) for i in range(200)
    ),
}
_KEYS = [b"", b"user-42", "café ☕".encode(), b"\x00\xff", b"room/" + b"x" * 300]


def _fleet_vectors(name: str, members: list[Member]) -> dict[str, object]:
    found = owners(members)
    slots = [slot_of(key) for key in _KEYS]
    return {
        "name": name,
        "nodes": [list(member) for member in members],
        "capacities": [capacity(member, members) for member in members],
        "owned": [found.count(i) for i in range(len(members))],
        "owners_xxh3_64": f"{xxh3_64_intdigest(b''.join(o.to_bytes(2, 'little') for o in found)):016x}",
        "routes": [
            {
                "key_hex": key.hex(),
                "slot": slot,
                "owner": members[found[slot]].id,
                "nodes_4": route(members, found[slot], slot, 4),
                "nodes_4_zone_b": route(members, found[slot], slot, 4, "b"),
            }
            for key, slot in zip(_KEYS, slots, strict=True)
        ],
    }


def vectors() -> dict[str, list[dict[str, object]]]:
    ids, sample, table = ["gw-1", "gw-2.example"], [0, 1, 99_999, 262_143], waits()
    return {
        "keys": [{"key_hex": k.hex(), "xxh3_64": f"{xxh3_64_intdigest(k):016x}", "slot": slot_of(k)} for k in _KEYS],
        "nodes": [{"id": i, "permutation_keys": permutation_keys(i), "phase": phase(i)} for i in ids],
        "ranks": [{"id": i, "slot": slot, "rank": rank(slot, i)} for i in ids for slot in sample],
        "waits": [{"rank": r, "wait": table[r]} for r in sample],
        "fleets": [_fleet_vectors(name, members) for name, members in _FLEETS.items()],
    }


def as_json(sections: dict[str, list[dict[str, object]]]) -> str:
    """Return JSON with one vector per line."""
    lines = {name: ",\n  ".join(map(json.dumps, rows)) for name, rows in sections.items()}
    return "{\n" + ",\n".join(f' "{name}": [\n  {rows}\n ]' for name, rows in lines.items()) + "\n}"


if __name__ == "__main__":
    print(as_json(vectors()))
