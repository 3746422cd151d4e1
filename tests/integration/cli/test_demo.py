"""`clusterctl demo`: the whole story, and that nothing of it is left."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import clusterctl as clusterctl_package
import pytest


@pytest.fixture
def scratch(tmp_path: Path) -> dict[str, str]:
    """The environment of a demo whose temporary files can be looked for."""
    return {"TMPDIR": str(tmp_path), "CLUSTERD_PREFIX": "nonsense"}


def demo_processes(scratch: Path) -> list[str]:
    """The processes whose environment says that they belong to the demo."""
    mark = f"TMPDIR={scratch}".encode()
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/environ") if mark in _read(path)]


def left_in(scratch: Path) -> list[Path]:
    return list(scratch.iterdir())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # not ours, or gone
        return b""


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which clusterctl is what an installation has: without a checkout around it."""
    site = tmp_path_factory.mktemp("lib") / "site-packages"
    shutil.copytree(Path(clusterctl_package.__file__).parent, site / "clusterctl")
    return {"PYTHONPATH": str(site)}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_message_comes_once_whatever_befalls_the_nodes(
    clusterctl: Any, scratch: dict[str, str], tmp_path: Path
) -> None:
    result = await clusterctl("demo", env=scratch, seconds=150)
    assert (result.code, result.err) == (0, ""), result.out + result.err
    counts = re.search(r"\nmessages: sent (\d+), delivered (\d+), lost 0, duplicated 0\n", result.out)
    assert counts
    sent, delivered = map(int, counts.groups())
    assert delivered > sent > 500
    assert re.search(r"ok +each node is drained, and taken back +all 5", result.out)
    assert re.search(r"ok +nobody disappears +no node left", result.out)
    assert "FAIL" not in result.out
    assert left_in(tmp_path) == []
    assert demo_processes(tmp_path) == []


@pytest.mark.timeout(120)
async def test_all_that_is_expected_is_seen_of_an_installation(
    clusterctl: Any, scratch: dict[str, str], installed: dict[str, str], tmp_path: Path
) -> None:
    result = await clusterctl("demo", env=scratch | installed, seconds=90)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("without traffic: an installation has no examples/")
    assert re.search(r"ok +gw-3 is drained", result.out)
    assert re.search(r"ok +gw-2 is counted out when its lease lapses +[\d.]+ s after the kill", result.out)
    assert re.search(r"ok +nobody disappears +no node left", result.out)
    assert "FAIL" not in result.out
    assert "\x1b" not in result.out
    assert left_in(tmp_path) == []
    assert demo_processes(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_cleans_up(
    terminal: Callable[..., AbstractAsyncContextManager[Any]],
    scratch: dict[str, str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    async with terminal("demo", env=scratch) as screen:
        await screen.shows("5 nodes join, and are active")
        assert len(demo_processes(tmp_path)) >= 6
        screen.child.send_signal(number)
        assert await screen.ends() == 130
        assert demo_processes(tmp_path) == []
    assert left_in(tmp_path) == []
    assert "Traceback" not in screen.shown
