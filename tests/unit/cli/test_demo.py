"""How the demo ends when something was not as it should be."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from clusterctl import main
from clusterctl.demo import command
from clusterctl.demo.narrator import Narrator
from clusterctl.demo.scenes import Observation


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
