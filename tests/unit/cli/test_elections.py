"""Elections as they are shown: tables, documents, the lines of `leader -w`, and what is said of a resignation."""

from __future__ import annotations

from datetime import UTC, datetime

from clusterctl.leader.following import Chronicle, News, as_document, as_text
from clusterctl.leader.resigning import as_text as resignation
from clusterctl.render import elections, tables

from clusterd.election import Candidate, ElectionView, Sighting
from clusterd.etcd.errors import Unavailable

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
A = Candidate("gw-1", b"gw-1", 12, 0x1F, b"/elections/job/1f")
B = Candidate("x\x1b[31m\n", b"x\x1b[31m\n", 15, 0, b"/elections/job/other")
JOB = ElectionView("job", (A, B))
AWAY = Sighting(trouble=Unavailable("etcd is away"))


def test_all_elections_in_a_table() -> None:
    odd = ElectionView("go\x1b[2J", (B,))
    text = tables.aligned(elections.overview([JOB, odd], {"gw-1"}))
    assert text.splitlines() == [
        "ELECTION   LEADER       NODE  FENCE  WAITING",
        "job        gw-1         gw-1     12        1",
        r"go\x1b[2J  x\x1b[31m\n  -        15        0",
    ]


def test_one_election_in_a_table_in_the_order_of_turns() -> None:
    text = tables.tsv(elections.turns(JOB, {"gw-1"}))
    assert [line.split("\t") for line in text.splitlines()] == [
        ["turn", "candidate", "node", "fence", "lease"],
        ["1", "gw-1", "gw-1", "12", "1f"],
        ["2", r"x\x1b[31m\n", "", "15", ""],
    ]


def test_documents() -> None:
    assert elections.turns_document(JOB, {"gw-1"}) == {
        "election": "job",
        "leader": "gw-1",
        "node": "gw-1",
        "fence": 12,
        "lease": "1f",
        "waiting": 1,
        "candidates": [
            {"id": "gw-1", "fence": 12, "lease": "1f", "node": "gw-1"},
            {"id": "x\x1b[31m\n", "fence": 15, "lease": None, "node": None},
        ],
    }
    assert elections.election_document(JOB, None)["node"] is None


def kinds(chronicle: Chronicle, *seen: Sighting) -> list[str]:
    return [news.kind for sighting in seen for news in chronicle.note(sighting)]


def test_only_what_is_new_is_told() -> None:
    working = Candidate("gw-1, at work", b"", 12, 0x1F, A.key)
    assert kinds(Chronicle(), Sighting(A, 12), Sighting(A, 13), Sighting(working, 14), Sighting(B, 15)) == [
        "leads",
        "proclaimed",
        "leads",
    ]
    assert kinds(Chronicle(), Sighting(None, 1), Sighting(None, 2), Sighting(A, 12), Sighting(None, 13)) == [
        "vacant",
        "leads",
        "vacant",
    ]


def test_an_outage_is_told_once_and_so_is_its_end() -> None:
    chronicle = Chronicle()
    assert kinds(chronicle, Sighting(A, 12), AWAY, AWAY, Sighting(A, 12), Sighting(A, 13)) == [
        "leads",
        "stale",
        "fresh",
    ]
    assert chronicle.note(AWAY) == [News("stale", 13, A)]
    assert kinds(chronicle, Sighting(B, 15)) == ["leads", "fresh"]


def test_news_as_lines_and_objects() -> None:
    assert as_text(News("leads", 12, A), NOW) == "2030-01-02T03:04:05.000Z      12  leads        gw-1  fence 12"
    assert as_text(News("vacant", 13, None), NOW) == "2030-01-02T03:04:05.000Z      13  vacant"
    assert as_text(News("leads", 15, B), NOW).isprintable()
    assert as_document(News("leads", 12, A), "job", NOW) == {
        "time": "2030-01-02T03:04:05.000Z",
        "revision": 12,
        "event": "leads",
        "election": "job",
        "leader": {"id": "gw-1", "fence": 12, "lease": "1f"},
    }


def test_who_led_and_who_leads() -> None:
    assert resignation(JOB, B, "table") == r"gw-1 led job (fence 12); x\x1b[31m\n leads it now (fence 15)"
    assert resignation(JOB, None, "table") == "gw-1 led job (fence 12); nobody leads it now"
    assert resignation(JOB, None, "jsonl") == (
        '{"election":"job","led":{"id":"gw-1","fence":12,"lease":"1f"},"leader":null}'
    )
