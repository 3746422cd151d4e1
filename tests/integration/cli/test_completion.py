"""Shell completion, asked as a shell asks it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from typing import Any

import pytest
from clusterctl.doctor.rights import PARTS

from clusterd.etcd.process import free_ports


def check_syntax(shell: str, script: str) -> None:
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=10)


def asking(words: str) -> dict[str, str]:
    """The environment by which bash asks what may stand at the end of a command line."""
    return {
        "_CLUSTERCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }


def offered(result: Any) -> list[str]:
    assert (result.code, result.err) == (0, "")
    return [line.partition(",")[2] for line in result.out.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_script_for_each_shell(clusterctl: Any, shell: str) -> None:
    result = await clusterctl("completion", shell)
    assert (result.code, result.err) == (0, "")
    assert "_CLUSTERCTL_COMPLETE" in result.out
    if shutil.which(shell):
        await asyncio.to_thread(check_syntax, shell, result.out)


async def test_node_ids_complete(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    assert offered(await clusterctl(env=here | asking("clusterctl node gw-"))) == ["gw-1", "gw-2", "gw-3"]
    assert offered(await clusterctl(env=here | asking("clusterctl nodes gw-1 g"))) == ["go-svc", "gw-2", "gw-3"]
    typed = f"clusterctl --endpoints {fleet.etcd.endpoint} node go"
    assert offered(await clusterctl(env=asking(typed))) == ["go-svc"]


async def test_what_drain_takes_completes(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    assert offered(await clusterctl(env=here | asking("clusterctl drain s"))) == ["set", "status"]
    assert offered(await clusterctl(env=here | asking("clusterctl drain gw-1 g"))) == ["go-svc", "gw-2", "gw-3"]
    assert offered(await clusterctl(env=here | asking("clusterctl drain status gw-1 gw-"))) == ["gw-2", "gw-3"]
    assert offered(await clusterctl(env=here | asking("clusterctl auth "))) == ["apply", "plan"]
    assert "operator" in offered(await clusterctl(env=here | asking("clusterctl auth plan ")))
    assert offered(await clusterctl(env=here | asking("clusterctl auth apply --node gw-1"))) == ["gw-1"]
    assert offered(await clusterctl(env=here | asking("clusterctl doctor --as "))) == list(PARTS)
    for command in ("cordon", "uncordon", "undrain", "history"):
        assert offered(await clusterctl(env=here | asking(f"clusterctl {command} gw-2"))) == ["gw-2"]


async def test_a_key_that_a_shell_could_trip_over_is_not_offered(
    fleet: Any, clusterctl: Any, here: dict[str, str]
) -> None:
    for name in ("gw-$(reboot)", "gw-;x", "gw-\n", "gw- y", "gw-\x1b[2J"):
        await fleet.etcd.admin.put(f"/nodes/{name}", "active")
    assert offered(await clusterctl(env=here | asking("clusterctl node gw-"))) == ["gw-1", "gw-2", "gw-3"]


async def test_names_of_elections_complete(fleet: Any, clusterctl: Any, here: dict[str, str]) -> None:
    for key in ("job/1", "job/2", "journal/3", "jo$(x)/4", "other/5", "joined"):
        await fleet.etcd.admin.put(f"/elections/{key}", "gw-1")
    assert offered(await clusterctl(env=here | asking("clusterctl leader jo"))) == ["job", "journal"]


async def test_commands_complete(clusterctl: Any) -> None:
    assert offered(await clusterctl(env=asking("clusterctl no"))) == ["node", "nodes"]


async def test_without_an_etcd_nothing_is_offered_and_nobody_waits(clusterctl: Any) -> None:
    started = time.monotonic()
    here = {"CLUSTERCTL_ENDPOINTS": f"http://127.0.0.1:{free_ports(1)[0]}"}
    assert offered(await clusterctl(env=here | asking("clusterctl node gw-"))) == []
    assert offered(await clusterctl(env={"CLUSTERCTL_NONSENSE": "1"} | asking("clusterctl node gw-"))) == []
    assert time.monotonic() - started < 10  # usually 2: a second's patience, and the start of two processes
