"""Every form in which nodes are shown; and that nothing in a record reaches a terminal raw."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from clusterctl.durations import brief, humanize, parse_duration
from clusterctl.fleet import Entry, join
from clusterctl.render import documents, fleet, tables
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import local_time, parse_time, plural, printable, printable_bytes, size
from rich.console import Console

from clusterd.errors import UsageError
from clusterd.node import Node, NodeState
from clusterd.status import NodeStatus

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = "x\x1b[31m\r\n\t\u202e\x9b[bold]é😀\x00"
NODE = Node(
    id="gw-1",
    address="10.0.0.1:80",
    zone="z",
    instance="i1",
    labels={"b": "2", "a": "1"},
    started_at=(NOW - timedelta(seconds=90)).isoformat(),
    lease=0x1F,
    mod_revision=7,
)
ENTRY = Entry(NODE, NodeStatus(instance="i1", sessions=3), ("billing", "job"))
FOREIGN = Entry(Node(id="go", foreign=True, weight=0))


def at_terminal(table: Table, width: int = 100) -> str:
    console = Console(width=width, force_terminal=True, color_system="standard", markup=False, emoji=False)
    with console.capture() as capture:
        console.print(tables.for_terminal(table, "a caption"))
    return capture.get()


def test_a_pipe_gets_aligned_text_with_nothing_cut() -> None:
    text = tables.aligned(fleet.table([ENTRY, FOREIGN], NOW, fleet.NARROW))
    assert text.splitlines() == [
        "NODE  STATE           ZONE  ADDRESS      WEIGHT  SESSIONS    AGE  LEADS",
        "gw-1  active          z     10.0.0.1:80     100         3  1m30s  billing,job",
        "go    active,foreign  -     -                 -         -      -  -",
    ]


def test_an_empty_table_is_its_heading() -> None:
    assert tables.aligned(fleet.table([], NOW, fleet.NARROW)).startswith("NODE  STATE")


def test_tsv_has_exact_values_and_nothing_for_what_is_absent() -> None:
    heading, ours, foreign = (line.split("\t") for line in tsv([ENTRY, FOREIGN]).split("\n"))
    row = dict(zip(heading, ours, strict=True))
    assert row["started_at"] == NODE.started_at
    assert (row["labels"], row["lease"], row["revision"]) == ("a=1,b=2", "1f", "7")
    assert foreign[2:-1] == [""] * (len(heading) - 3)


def tsv(entries: list[Entry]) -> str:
    return tables.tsv(fleet.table(entries, NOW, fleet.EXACT))


def test_a_terminal_gets_colour_and_a_caption() -> None:
    text = at_terminal(fleet.table([ENTRY], NOW, fleet.NARROW))
    assert "\x1b[32mactive" in text
    assert "a caption" in text
    assert "─" in text


def test_a_narrow_terminal_folds_text_and_keeps_numbers_whole() -> None:
    table = Table([Heading("A", number=True), Heading("B")], [[Cell("1234567"), Cell("word " * 30)]])
    text = at_terminal(table, width=30)
    assert "1234567" in text
    assert text.count("word") == 30
    assert "…" not in text


def test_documents_have_the_records_fields_and_what_etcd_knows() -> None:
    assert fleet.entry_document(ENTRY) == {
        "id": "gw-1",
        "instance": "i1",
        "address": "10.0.0.1:80",
        "state": "active",
        "weight": 100,
        "zone": "z",
        "labels": {"a": "1", "b": "2"},
        "endpoints": {},
        "started_at": NODE.started_at,
        "agent": "",
        "foreign": False,
        "unconfirmed": False,
        "lease": "1f",
        "mod_revision": 7,
        "sessions": 3,
        "leads": ["billing", "job"],
    }
    assert fleet.entry_document(FOREIGN)["lease"] is None
    assert fleet.entry_document(FOREIGN)["sessions"] is None
    assert fleet.entry_document(FOREIGN)["leads"] is None


@pytest.mark.parametrize("render", [documents.as_json, documents.as_json_line, documents.as_yaml])
def test_documents_are_safe_and_say_the_same(render) -> None:
    document = {"hostile": HOSTILE, "fine": "zürich", "list": [1, None]}
    text = render(document)
    assert text.replace("\n", "").isprintable()
    assert (yaml.safe_load if render is documents.as_yaml else json.loads)(text) == document
    assert len(documents.as_json_line(document).splitlines()) == 1


def test_harmless_letters_stay_readable() -> None:
    for render in (documents.as_json, documents.as_yaml):
        assert "zürich" in render({"zone": "zürich"})


@pytest.mark.parametrize("form", [tables.aligned, tables.tsv, at_terminal])
def test_hostile_text_in_a_record_steers_no_terminal(form) -> None:
    node = Node(id=HOSTILE, zone=HOSTILE, address=HOSTILE, labels={HOSTILE: HOSTILE})
    text = form(fleet.table([Entry(node)], NOW, fleet.WIDE))
    assert "\x1b[31m" not in text
    for character in "\r\x00\x9b\u202e":
        assert character not in text


def test_markup_is_not_interpreted() -> None:
    assert "[bold]x[/bold]" in at_terminal(Table([Heading("A")], [[Cell("[bold]x[/bold]")]]))


def test_printable() -> None:
    assert printable(HOSTILE) == r"x\x1b[31m\r\n\t\u202e\x9b[bold]é😀\x00"
    assert printable("\ud800") == r"\ud800"
    assert printable_bytes(b"\xff\x00ok", 10) == r"\xff\x00ok"
    assert printable_bytes(b"a" * 20, 5) == "aaaaa… (20 bytes)"


def test_marks_and_styles() -> None:
    unconfirmed = NODE.replace(unconfirmed=True, state=NodeState.DRAINING)
    assert fleet.state_text(unconfirmed) == "draining,unconfirmed"
    assert "magenta" in fleet.state_style(unconfirmed)
    assert fleet.state_style(FOREIGN.node) == "red"


def test_figures_count_for_the_instance_that_gave_them_alone() -> None:
    status = NodeStatus(instance="older", sessions=9)
    assert join([NODE], {"gw-1": status})[0].sessions is None
    assert join([NODE], {"gw-1": NodeStatus(instance="i1", sessions=9)})[0].sessions == 9


def test_a_node_leads_what_is_led_in_its_name() -> None:
    leads = {"gw-1": ("job",), "somebody": ("other",)}
    assert [entry.leads for entry in join([NODE, FOREIGN.node], {}, leads)] == [("job",), ()]
    assert join([NODE], {})[0].leads is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.9, "0s"),
        (59, "59s"),
        (60, "1m"),
        (190, "3m10s"),
        (18000, "5h"),
        (18120, "5h2m"),
        (370800, "4d7h"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert humanize(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), ("1.5s", 1.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "timeout") == seconds


@pytest.mark.parametrize("text", ["", "s", "5 parsecs", "-1", "0s", "1w", "nan"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="timeout"):
        parse_duration(text, "timeout")


def test_small_helpers() -> None:
    assert (brief(0.0123), brief(0.0009), brief(2.34)) == ("12 ms", "0.9 ms", "2.3 s")
    assert (plural(1, "node"), plural(0, "node")) == ("1 node", "0 nodes")
    assert (size(999), size(25_000), size(3_000_000), size(2_500_000_000)) == ("999 B", "25 kB", "3 MB", "2.5 GB")
    assert fleet.age("not a time", NOW) == ""
    assert parse_time("2030-01-01T00:00:00") == datetime(2030, 1, 1, tzinfo=UTC)


class TestNarrowTerminals:
    """What names things isn't folded, what explains them stands below."""

    TABLE = Table(
        [Heading("NODE", whole=True), Heading("SINCE", whole=True), Heading("BY"), Heading("WHY", note=True)],
        [
            [
                Cell("edge-gateway-1"),
                Cell("2030-01-02T03:04:05+00:00", brief="2m10s ago"),
                Cell("a" * 30),
                Cell("k " * 40),
            ],
            [Cell("edge-gateway-2"), Cell("2030-01-02T03:04:05+00:00", brief="2m10s ago"), Cell("b"), Cell("")],
        ],
    )

    def test_what_is_whole_is_not_folded_and_times_are_brief(self) -> None:
        shown = at_terminal(self.TABLE, 50)
        assert "edge-gateway-1" in shown
        assert "2m10s ago" in shown
        assert "2030" not in shown

    def test_a_pipe_gets_the_times_themselves_and_the_notes_in_their_column(self) -> None:
        first = tables.aligned(self.TABLE).splitlines()[1]
        assert "2030-01-02T03:04:05+00:00" in first
        assert "k k k" in first

    def test_notes_stand_below_with_what_they_are_about(self) -> None:
        assert "WHY" not in at_terminal(tables.without_notes(self.TABLE))
        (note,) = tables.notes(self.TABLE)
        assert note.startswith("edge-gateway-1 why: k k")

    def test_a_note_that_no_row_has_is_no_column(self) -> None:
        without = Table(self.TABLE.headings, self.TABLE.rows[1:])
        assert "WHY" not in at_terminal(without)
        assert "WHY" in tables.aligned(without)


@pytest.mark.parametrize("text", ["", "noon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_what_no_clock_shows_is_shown_as_it_is(text: str) -> None:
    assert local_time(text) == text


def test_a_time_is_shown_as_the_clock_on_the_wall_has_it() -> None:
    assert local_time(NOW.isoformat()) == NOW.astimezone().strftime("%Y-%m-%d %H:%M:%S")
