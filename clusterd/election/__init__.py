"""Elections and locks, with fencing, in the format of etcd's own recipes."""

from __future__ import annotations

from clusterd.election.ballot import Candidate
from clusterd.election.desk import ElectionDesk, run_on_leader
from clusterd.election.election import Election
from clusterd.election.loss import Loss
from clusterd.election.observing import ElectionView, Sighting, depose, list_elections, read_election, sightings
from clusterd.election.term import Term

__all__ = [
    "Candidate",
    "Election",
    "ElectionDesk",
    "ElectionView",
    "Loss",
    "Sighting",
    "Term",
    "depose",
    "list_elections",
    "read_election",
    "run_on_leader",
    "sightings",
]
