"""The keys of offices, and the order of those who stand for them."""

from __future__ import annotations

import pytest

from clusterd import InvalidOfficeName
from clusterd.election.ballot import Candidate, Office, in_order
from clusterd.etcd.messages import KeyValue
from clusterd.keys import Keyspace


def test_a_candidates_key_is_the_offices_and_the_lease_in_unpadded_hex() -> None:
    office = Office.of_election(Keyspace("/fleet/"), "job")
    assert office.candidate(0x00AB) == b"/fleet/elections/job/ab"
    assert (office.prefix, office.range_end) == (b"/fleet/elections/job/", b"/fleet/elections/job0")
    assert str(office) == "election 'job'"


def test_the_offices_own_key_is_not_among_the_candidates() -> None:
    office = Office.of_lock(Keyspace(), "billing")
    assert office.key == b"/locks/billing"
    assert not office.prefix <= office.key < office.range_end


@pytest.mark.parametrize("name", ["", "a/b", "/", ".a", "-a", "a b", "é", "a\n", "a" * 129])
def test_names_outside_the_alphabet_are_refused_for_elections_and_locks(name: str) -> None:
    for make in (Office.of_election, Office.of_lock):
        with pytest.raises(InvalidOfficeName, match="names don't nest"):
            make(Keyspace(), name)


def test_who_came_first_leads_wherever_its_key_sorts() -> None:
    keys = [KeyValue(key=b"/e/j/1", value=b"late", create_revision=9), KeyValue(key=b"/e/j/f", create_revision=3)]
    assert [candidate.fence for candidate in in_order(keys)] == [3, 9]


def test_a_proposal_that_is_no_text_can_be_shown() -> None:
    candidate = Candidate.of(KeyValue(value=b"\xffgw", create_revision=3, lease=7))
    assert (candidate.id, candidate.value) == ("\\xffgw", b"\xffgw")
