"""`clusterctl doctor`: what it finds in an etcd that is well, and in ones that are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from clusterd.etcd.process import free_ports
from clusterd.node import Node, encode_node
from clusterd.testing import AdminError, EtcdBinary, EtcdCluster, EtcdServer, etcd_binaries

CHECKS = {"endpoint", "tls", "cluster", "version", "quorum", "members", "alarms", "auth", "credentials"}
CHECKS |= {"rights", "lease clock", "watch", "nodes", "clock"}

on_every_version = pytest.mark.parametrize(
    "clusterd_etcd_binary", etcd_binaries(), ids=str, indirect=True, scope="session"
)


class Report:
    """The doctor's JSON."""

    def __init__(self, result: Any) -> None:
        self.code = result.code
        self.findings = json.loads(result.out)["findings"]

    def levels(self, check: str) -> list[str]:
        return [finding["level"] for finding in self.findings if finding["check"] == check]

    def text(self, check: str) -> str:
        return " / ".join(finding["finding"] for finding in self.findings if finding["check"] == check)

    @property
    def failed(self) -> set[str]:
        return {finding["check"] for finding in self.findings if finding["level"] == "fail"}


async def examine(clusterctl: Any, *endpoints: str, options: tuple[str, ...] = ()) -> Report:
    return Report(await clusterctl("doctor", "-o", "json", "--endpoints", ",".join(endpoints), *options))


@on_every_version
async def test_an_etcd_that_is_well(fleet: Any, clusterctl: Any, etcd_binary: EtcdBinary) -> None:
    await fleet.etcd.admin.delete("/nodes/go-svc")
    report = await examine(clusterctl, fleet.etcd.endpoint)
    assert report.code == 0
    assert {finding["check"] for finding in report.findings} == CHECKS
    assert report.failed == set()
    assert ".".join(map(str, etcd_binary.version)) in report.text("version")
    assert "leader" in report.text("endpoint")
    assert report.levels("lease clock") == report.levels("watch") == report.levels("nodes") == ["ok"]
    assert report.levels("auth") == ["warn"]
    assert await fleet.etcd.admin.range("/doctor/") == []
    assert await fleet.etcd.admin.leases() == [fleet.lease]


async def test_keys_that_are_no_registrations(fleet: Any, clusterctl: Any) -> None:
    ahead = encode_node(Node(id="early", address="h:1", started_at="2999-01-01T00:00:00Z"))
    await fleet.etcd.admin.put("/nodes/early", ahead)
    report = await examine(clusterctl, fleet.etcd.endpoint)
    assert report.code == 0
    assert report.levels("nodes") == ["warn", "warn"]
    assert "never lapse: early" in report.text("nodes")
    assert "not clusterd's: go-svc" in report.text("nodes")
    assert "1 node lie ahead" in report.text("clock")


@on_every_version
async def test_a_full_etcd(etcd_binary: EtcdBinary, clusterctl: Any) -> None:
    async with EtcdServer(binary=etcd_binary, quota_bytes=1 << 20) as etcd:
        with pytest.raises(AdminError, match="space exceeded"):
            for number in range(100):
                await etcd.admin.put(f"/big/{number}", b"x" * 100_000)
        report = await examine(clusterctl, etcd.endpoint)
    assert report.code == 5
    assert report.failed == {"alarms", "lease clock", "watch"}
    assert "NOSPACE" in report.text("alarms")


@on_every_version
async def test_auth(fleet: Any, clusterctl: Any) -> None:
    admin, endpoint = fleet.etcd.admin, fleet.etcd.endpoint
    await fleet.etcd.enable_auth("root", "secret")
    await admin.add_role("reader")
    await admin.grant("reader", "/nodes/", "READ")
    await admin.add_user("ann", "pw", roles=("reader",))
    await admin.add_user("bob", "pw")

    users = ("root:secret", "ann:pw", "bob:pw", "ann:wrong")
    runs = (examine(clusterctl, endpoint, options=("--user", user)) for user in users)
    root, ann, bob, wrong, nobody = await asyncio.gather(*runs, examine(clusterctl, endpoint))
    assert (root.code, root.levels("rights"), root.levels("watch")) == (0, ["ok"], ["ok"])
    assert root.text("auth").startswith("on")
    assert (ann.code, ann.levels("credentials"), ann.levels("watch")) == (0, ["ok"], ["warn"])
    assert "not checked" in ann.text("watch")
    for refused in (bob, wrong, nobody):
        assert (refused.code, refused.failed) == (5, {"credentials"})


async def test_nobody_there(clusterctl: Any) -> None:
    report = await examine(clusterctl, *(f"http://127.0.0.1:{port}" for port in free_ports(2)))
    assert (report.code, report.failed) == (3, {"endpoint", "quorum"})
    assert "connection refused" in report.text("endpoint")


async def test_members_of_a_cluster_go_down(etcd_cluster: EtcdCluster, clusterctl: Any) -> None:
    first, *_ = etcd_cluster.endpoints
    whole, partial = await asyncio.gather(examine(clusterctl, *etcd_cluster.endpoints), examine(clusterctl, first))
    assert (whole.code, whole.levels("endpoint")) == (0, ["ok"] * 3)
    assert "bears the loss of 1" in whole.text("members")
    assert "not heard of: m2 (http" in partial.text("members")

    await etcd_cluster.members[2].kill()
    one_down = await examine(clusterctl, *etcd_cluster.endpoints)
    assert (one_down.code, one_down.failed) == (5, {"endpoint"})
    await etcd_cluster.members[1].kill()
    no_quorum = await examine(clusterctl, *etcd_cluster.endpoints, options=("--timeout", "2s"))
    assert no_quorum.code == 3
    assert no_quorum.levels("quorum") == ["fail"]


async def test_two_clusters_at_once(etcd_binary: EtcdBinary, clusterctl: Any) -> None:
    async with EtcdServer(binary=etcd_binary) as one, EtcdServer(binary=etcd_binary) as other:
        report = await examine(clusterctl, one.endpoint, other.endpoint)
    assert report.code == 5
    assert "belong to 2 clusters" in report.text("cluster")


async def test_at_a_terminal_what_to_do_stands_below(
    fleet: Any, terminal: Callable[..., AbstractAsyncContextManager[Any]], here: dict[str, str], tmp_path: Path
) -> None:
    async with terminal("doctor", env=here) as screen:
        assert await screen.ends() == 0
    assert "✔" in screen.shown
    assert "→ nothing is routed to them" in screen.shown
    assert "failed" in screen.shown
