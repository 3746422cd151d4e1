"""What the parts of the chaos suite call things."""

from __future__ import annotations

import zlib

USER, PASSWORD = "fleet", "of-gateways"
"""How agents log in."""

EVERYBODY = "*"
WITNESS = "etcd"
"""Who says what etcd has."""

REGISTERS = "/chaos/"
OFFICES = ("rebalancer", "reaper")


def node_name(number: int) -> str:
    """Return the id of the node of that number."""
    return f"gw-{number:02}"


ELECTIONS = {node_name(3 * place): OFFICES[place % len(OFFICES)] for place in range(20)}
"""Which nodes stand, and for what."""


def tells_routes(who: str, revision: int) -> bool:
    """Whether an agent works out its routes at a revision: all do so in turn, and the witness where anybody does.

    To work them out takes long beside everything else: if all did so at each revision, they would do nothing else.
    """
    return revision % 4 == 0 and (who == WITNESS or (revision // 4 + zlib.crc32(who.encode())) % 12 == 0)


def register(election: str) -> str:
    """Return the key that the leaders of an election write, fenced."""
    return REGISTERS + election
