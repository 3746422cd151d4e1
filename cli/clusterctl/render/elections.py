"""Elections as tables and as documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from clusterctl.render.fleet import lease_text
from clusterctl.render.tables import Cell, Heading, Table
from clusterd.election import Candidate, ElectionView

Ids = Collection[str] | None
"""The ids of the nodes that are registered; None where they can't be told."""


def overview(elections: Iterable[ElectionView], nodes: Ids) -> Table:
    """Return a row for each election: who leads it."""
    headings = [
        Heading("ELECTION"),
        Heading("LEADER"),
        Heading("NODE"),
        Heading("FENCE", number=True),
        Heading("WAITING", number=True),
    ]
    return Table(headings, [_row(election, nodes) for election in elections])


def turns(election: ElectionView, nodes: Ids) -> Table:
    """Return a row for each candidate of one election, in the order of their turns: the first one leads."""
    headings = [
        Heading("TURN", number=True),
        Heading("CANDIDATE"),
        Heading("NODE"),
        Heading("FENCE", number=True),
        Heading("LEASE"),
    ]
    rows = [
        [
            Cell(str(turn)),
            Cell(candidate.id, "bold green" if turn == 1 else ""),
            Cell(node_of(candidate, nodes) or ""),
            Cell(str(candidate.fence)),
            Cell(lease_text(candidate.lease)),
        ]
        for turn, candidate in enumerate(election.candidates, 1)
    ]
    return Table(headings, list(rows))


def election_document(election: ElectionView, nodes: Ids) -> dict[str, Any]:
    """Return an election as JSON and YAML show it among others."""
    leader = election.leader
    return {
        "election": election.name,
        "leader": leader.id,
        "node": node_of(leader, nodes),
        "fence": leader.fence,
        "lease": lease_text(leader.lease) or None,
        "waiting": len(election.waiting),
    }


def turns_document(election: ElectionView, nodes: Ids) -> dict[str, Any]:
    """Return an election with all its candidates, in the order of their turns."""
    candidates = [
        {**candidate_document(candidate), "node": node_of(candidate, nodes)} for candidate in election.candidates
    ]
    return {**election_document(election, nodes), "candidates": candidates}


def candidate_document(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate as its key shows it."""
    return {"id": candidate.id, "fence": candidate.fence, "lease": lease_text(candidate.lease) or None}


def node_of(candidate: Candidate, nodes: Ids) -> str | None:
    """Return the id of the node that a candidate says to be; None if no such node is registered."""
    return candidate.id if nodes is not None and candidate.id in nodes else None


def _row(election: ElectionView, nodes: Ids) -> list[Cell]:
    leader = election.leader
    return [
        Cell(election.name, "bold"),
        Cell(leader.id),
        Cell(node_of(leader, nodes) or ""),
        Cell(str(leader.fence)),
        Cell(str(len(election.waiting))),
    ]
