"""The chart as Helm renders it."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "clusterd"
OWN_CHART = ROOT / "examples" / "own-chart"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
"""The values files that users may start from."""

Values = dict[str, Any]
Manifest = dict[str, Any]

LEAST: Values = {
    "image": {"repository": "registry.example/clusterd"},
    "gateway": {"image": {"repository": "registry.example/gateway"}},
    "etcd": {"endpoints": ["http://etcd:2379"]},
}
"""Values that say no more than they must."""


@functools.cache
def chart(path: Path = CHART) -> helm.Chart:
    """Return the loaded chart."""
    return helm.Chart.load(path)


def merged(*values: Mapping[str, Any]) -> Values:
    """Return values files laid over each other, as `helm -f A -f B` does; the least that must be given is below all."""
    return functools.reduce(_merge, values, LEAST)


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Values:
    result = dict(below)
    for name, value in above.items():
        old = result.get(name)
        result[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def texts(values: Values, path: Path = CHART) -> dict[str, str]:
    """Return what each template renders to; raises `helm.HelmError`."""
    return chart(path).render(values, name="demo", namespace="gateways", is_install=True)


def render(values: Values, path: Path = CHART) -> list[Manifest]:
    """Return all objects that a release with these values consists of; raises `helm.HelmError`."""
    return [
        manifest
        for name, text in texts(values, path).items()
        if not name.endswith("NOTES.txt")
        for manifest in yaml.safe_load_all(text)
        if manifest
    ]


def load(file: Path) -> Values:
    """Return the values of a file."""
    values: Values = yaml.safe_load(file.read_text())
    return values


def the(kind: str, manifests: list[Manifest]) -> Manifest:
    """Return the only object of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Yield the specs of all pods that the objects make."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield manifest["spec"]["template"]["spec"]


def gateway_pod(manifests: list[Manifest]) -> Manifest:
    """Return the spec of the pod of a gateway and its sidecar."""
    (found,) = [pod for pod in pods(manifests) if pod.get("initContainers")]
    return found


def containers(pod: Manifest) -> list[Manifest]:
    """Return all containers of a pod."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def schema() -> dict[str, Any]:
    """Return the schema of the values."""
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
    return loaded
