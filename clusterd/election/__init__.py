"""Elections and locks, with fencing, in the format of etcd's own recipes."""

from __future__ import annotations

from clusterd.election.ballot import Candidate
from clusterd.election.desk import ElectionDesk, run_on_leader
from clusterd.election.election import Election
from clusterd.election.loss import Loss
from clusterd.election.observing import ElectionView, depose, list_elections
from clusterd.election.term import Term

__all__ = [
    "Candidate",
    "Election",
    "ElectionDesk",
    "ElectionView",
    "Loss",
    "Term",
    "depose",
    "list_elections",
    "run_on_leader",
]
