"""What the chart renders is what Kubernetes takes, in every version that it is for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest

from tests.chart.rendering import (
    CHART,
    EXAMPLES,
    OWN_CHART,
    Manifest,
    chart,
    containers,
    gateway_pod,
    load,
    merged,
    pods,
    render,
    texts,
    the,
)

KUBERNETES = ("1.29", "1.31", "1.33", kubernetes_validate.latest_version())
CUSTOM = "monitoring.coreos.com/v1"


@pytest.fixture(params=EXAMPLES, ids=lambda file: file.stem)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    return load(request.param)


@pytest.fixture
def own_chart(tmp_path: Path) -> Path:
    """The example of a chart of one's own, with what `helm dependency build` would put into it."""
    copy = Path(shutil.copytree(OWN_CHART, tmp_path / "own-chart"))
    shutil.copytree(CHART, copy / "charts" / "clusterd")
    return copy


def check(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["apiVersion"] != CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_valid_in_kubernetes(values: dict[str, Any], version: str) -> None:
    check(render(values), version)


def test_the_check_refuses_what_kubernetes_does_not_know() -> None:
    manifests = render(merged())
    gateway_pod(manifests)["containers"][0]["lifecycel"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="lifecycel"):
        check(manifests, "1.29")


def test_helm_lint_finds_nothing(values: dict[str, Any]) -> None:
    report = helm.lint(CHART, values, strict=True, kube_version="v1.29.0")
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_no_object_is_there_twice(values: dict[str, Any]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in render(values)]
    assert len(names) == len(set(names))


def test_selectors_select_the_pods_and_nothing_else(values: dict[str, Any]) -> None:
    manifests = render(values)
    if not values.get("workload", {}).get("enabled", True):
        return
    workload = the(values.get("workload", {}).get("kind", "Deployment"), manifests)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    selectors = [
        selector.get("matchLabels", selector)
        for manifest in manifests
        if manifest["kind"] != "ServiceMonitor"
        for field in ("selector", "podSelector")
        if (selector := manifest.get("spec", {}).get(field))
    ]
    assert len(selectors) >= 4
    for selector in selectors:
        assert selector.items() <= labels.items()
    for pod in (manifest for manifest in manifests if manifest["kind"] == "Pod"):
        assert not any(selector.items() <= pod["metadata"]["labels"].items() for selector in selectors)


def test_a_service_monitor_selects_the_one_service_with_its_port() -> None:
    manifests = render(merged({"monitoring": {"serviceMonitor": {"enabled": True}}}))
    monitor = the("ServiceMonitor", manifests)["spec"]
    services = [m for m in manifests if m["kind"] == "Service"]
    chosen = [s for s in services if monitor["selector"]["matchLabels"].items() <= s["metadata"]["labels"].items()]
    assert [port["name"] for service in chosen for port in service["spec"]["ports"]] == [
        monitor["endpoints"][0]["port"]
    ]


def test_what_prometheus_and_grafana_get_is_off_unless_asked_for() -> None:
    kinds = {manifest["kind"] for manifest in render(merged())}
    assert kinds == {
        "Deployment", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount",
    }  # fmt: skip


def test_a_chart_of_ones_own_takes_the_sidecar_and_no_second_workload(own_chart: Path) -> None:
    values = load(OWN_CHART / "values.yaml")
    manifests = render(values, own_chart)
    for version in KUBERNETES:
        check(manifests, version)
    pod = gateway_pod(manifests)
    (sidecar,) = pod["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert {"name": "CLUSTERD_ETCD", "value": "http://etcd:2379"} in sidecar["env"]
    assert pod["terminationGracePeriodSeconds"] == 45 + 5 + 3 + 15 + 5
    assert [manifest["kind"] for manifest in manifests if manifest["kind"] in ("Deployment", "StatefulSet")] == [
        "Deployment"
    ]
    budget = the("PodDisruptionBudget", manifests)
    assert budget["spec"]["selector"]["matchLabels"] == {"app": "chat"}


def test_a_chart_of_ones_own_is_told_of_contradictions_too(own_chart: Path) -> None:
    values = merged(load(OWN_CHART / "values.yaml"), {"clusterd": {"drain": {"settle": 30}}})
    with pytest.raises(helm.HelmError, match=r"drain\.deadline 45 leaves no time"):
        render(values, own_chart)


def test_the_notes_say_how_to_look_at_the_fleet() -> None:
    (notes,) = [text for name, text in texts(merged()).items() if name.endswith("NOTES.txt")]
    assert "clusterctl nodes" in notes
    assert "93 s in all" in notes


def test_the_chart_is_packaged_without_what_users_have_no_use_for(tmp_path: Path) -> None:
    archive = helm.package(CHART, destination=tmp_path)
    helm.expand(tmp_path, archive)
    assert json.loads((tmp_path / "clusterd" / "values.schema.json").read_text())
    assert not (tmp_path / "clusterd" / "ci").exists()


def test_the_chart_is_of_the_version_of_clusterd() -> None:
    from clusterd.version import __version__

    assert chart().metadata["appVersion"] == __version__


def test_every_container_of_every_pod_says_what_it_needs_of_the_node() -> None:
    for pod in pods(render(load(CHART / "ci" / "full-values.yaml"))):
        for container in containers(pod):
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]
