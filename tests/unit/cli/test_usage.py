"""Command lines that contradict themselves, or mean nothing, are refused before etcd is asked for anything."""

from __future__ import annotations

import shlex

import pytest
from clusterctl.main import run

REFUSED = {
    "drain": "drain what? Give IDs, -l, --zone or --all: an empty selection never means everything",
    "drain --all gw-1": "--all and IDs don't go together",
    "drain gw-1 --zone a": "IDs and --zone don't go together",
    "drain --zone nope --offline -y": "--offline is for IDs",
    "drain set": "change which drain? Give IDs, or --all",
    "drain set gw-1": "change what?",
    "drain set gw-1 --rate 5 --over 5s": "contradict each other",
    "drain set gw-1 --rate -5": "is not a pace",
    "drain set gw-1 --deadline 2020-01-01T00:00:00Z": "is in the past",
    "drain status --timeout 5s": "is for --watch",
    "drain gw-1 --rate 5/s --over 1m": "contradict each other",
    "drain gw-1 --rate -5": "is not a pace",
    "drain gw-1 --rate nan": "is not a pace",
    "drain gw-1 --rate 0/s": "out of range",
    "drain gw-1 --over inf": "is not a duration",
    "drain gw-1 --settle -1s": "is not a duration",
    "drain gw-1 --deadline 2020-01-01T00:00:00Z": "is in the past",
    "drain gw-1 --deadline 2020-01-01T00:00:00": "is not usable",
    "drain gw-1 --on-deadline force": "without a --deadline",
    "drain gw-1 --max-unavailable 0": "out of range",
    "drain gw-1 --min-active 101%": "out of range",
    "drain gw-1 --detach --timeout 5s": "contradict each other",
    "drain status -w -o yaml": "--watch shows table, jsonl, not yaml",
    "cordon": "Missing argument",
    "cordon gw-1 a/b": "node id",
    "undrain": "undrain what? Give IDs, --all or --gone",
    "undrain --gone gw-2": "--gone goes with none of IDs",
    "undrain --gone --older-than -1d": "not a duration",
    "undrain gw-2 -y": "--older-than and -y are for --gone",
    "undrain --all gw-2": "--all and IDs don't go together",
    "history --since nan": "not a duration",
    "history --since 999999999999h": "the history has 14 days",
    "history --limit -1": "-1",
    "drain -l": "requires an argument",
    "drain --zone ''": "--zone is empty",
    "drain -l ''": "is not usable",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_it_is_refused(arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CLUSTERCTL_ENDPOINTS", "http://127.0.0.1:1")  # nobody listens there
    assert run(shlex.split(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert REFUSED[arguments] in captured.err
