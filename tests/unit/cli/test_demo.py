"""How the demo ends when something was not as it should be."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusterctl import main
from clusterctl.demo import command, traffic
from clusterctl.demo.narrator import Narrator
from clusterctl.demo.scenes import Observation
from clusterctl.demo.traffic import Figures, find_gateway


@pytest.fixture(autouse=True)
def _own_sigterm() -> Iterator[None]:
    """Give SIGTERM back: the command takes it for the rest of its process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
def test_what_did_not_hold_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], held: bool, code: int
) -> None:
    async def play(_: Narrator) -> list[Observation]:
        return [Observation("the sky is up", held=True, seen="above"), Observation("pigs fly", held, "from afar")]

    monkeypatch.setattr(command, "_play", play)
    assert main.run(["demo"]) == code
    captured = capsys.readouterr()
    assert "the sky is up" in captured.out
    assert captured.err == ("" if held else "clusterctl: did not hold: pigs fly (from afar)\n")


@pytest.mark.parametrize(
    ("figures", "held", "shown"),
    [
        ({}, True, "sent 9, delivered 20, lost 0, duplicated 0"),
        ({"lost": 1}, False, "sent 9, delivered 20, lost 1, duplicated 0"),
        ({"duplicated": 2}, False, "sent 9, delivered 20, lost 0, duplicated 2"),
        ({"misdelivered": 3}, False, "sent 9, delivered 20, lost 0, duplicated 0, misdelivered 3"),
        ({"over": False}, False, "sent 9, delivered 20, lost 0, duplicated 0"),
        ({"sent": 0}, False, "sent 0, delivered 20, lost 0, duplicated 0"),
    ],
)
def test_the_ledger_holds_only_if_all_came_once(figures: dict[str, int], held: bool, shown: str) -> None:
    ledger = Figures(**{"sent": 9, "stored": 9, "delivered": 20, "over": True, **figures})
    assert (ledger.balanced, str(ledger)) == (held, shown)


def test_a_checkout_has_the_gateway_and_an_installation_says_that_it_has_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = Path(__file__).parents[3]
    assert find_gateway() == (root, "")
    monkeypatch.setattr(traffic, "_NEEDED", ("picows", "no_such_package"))
    assert find_gateway() == (None, "the message gateway needs no_such_package: pip install 'clusterd[gateway]'")
    monkeypatch.setattr(traffic, "__file__", str(tmp_path / "site-packages/clusterctl/demo/traffic.py"))
    assert find_gateway()[1].startswith("an installation has no examples/")
