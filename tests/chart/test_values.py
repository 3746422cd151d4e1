"""The values: every one documented, none taken that isn't known, and what the daemon is told is what it knows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python as helm
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clusterd.sidecar.settings import ENV_PREFIX, load
from tests.chart.rendering import CHART, EXAMPLES, gateway_pod, merged, render, schema
from tests.chart.rendering import load as load_values

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ROW = re.compile(r"^\| `(?P<path>[\w.]+)` \| (?P<default>required|`.*?`) \| (?P<meaning>.+) \|$", re.MULTILINE)


def paths(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value that has none below it, with its path."""
    for name, value in values.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and value:
            yield from paths(value, f"{path}.")
        else:
            yield path, value


def at(values: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def closed_objects(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every object of named values in the schema."""
    if "$ref" in node:
        node = schema()["definitions"][node["$ref"].rpartition("/")[2]]
    if "properties" in node:
        yield path
        for name, below in node["properties"].items():
            yield from closed_objects(below, (*path, name))


OBJECTS = sorted(set(closed_objects(schema())))


def test_the_readme_has_every_value_with_its_default() -> None:
    rows = {row["path"]: row["default"] for row in ROW.finditer((CHART / "README.md").read_text())}
    for path, default in rows.items():
        shown = "" if default == "required" else json.loads(default.strip("`"))
        assert at(VALUES, path) == (shown or at(VALUES, path) if default == "required" else shown), path
    missing = [path for path, _ in paths(VALUES) if not any(path == row or path.startswith(f"{row}.") for row in rows)]
    assert missing == []


def test_the_schema_and_the_values_know_of_the_same() -> None:
    def compare(node: dict[str, Any], values: dict[str, Any], path: str) -> None:
        if "$ref" in node:
            node = schema()["definitions"][node["$ref"].rpartition("/")[2]]
        if not values or "properties" not in node or path in (".gateway.securityContext", ".sidecar.resources"):
            return
        if not path.endswith("Probe"):
            assert node["properties"].keys() - {"global"} == values.keys(), path
        for name, value in values.items():
            if isinstance(value, dict):
                compare(node["properties"][name], value, f"{path}.{name}")

    compare(schema(), VALUES, "")


@pytest.mark.parametrize("path", OBJECTS, ids=".".join)
def test_a_typo_is_refused_at_every_level(path: tuple[str, ...]) -> None:
    values = copy.deepcopy(merged())
    inner: Any = values
    for name in path:
        inner = inner.setdefault(name, {})
    inner["tpyo"] = 1
    with pytest.raises(helm.HelmError, match="tpyo"):
        render(values)


def test_the_schema_leaves_open_only_what_kubernetes_defines_or_users_name() -> None:
    free = set()

    def look(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if node.get("type") == "object" and "additionalProperties" not in node:
                free.add(path)
            for name, below in node.items():
                look(below, f"{path}.{name}" if name not in ("properties", "definitions") else path)

    look(schema(), "")
    assert free == {
        ".global",
        ".affinity.nodeAffinity",
        ".affinity.podAffinity",
        ".affinity.podAntiAffinity",
        ".peer.podSelector",
        ".peer.namespaceSelector",
        ".pod.volumes.items",
        ".pod.initContainers.items",
    }


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_a_value_of_another_type_is_refused(data: st.DataObject) -> None:
    numbers_and_flags = [path for path, value in paths(VALUES) if isinstance(value, int)]
    path = data.draw(st.sampled_from(numbers_and_flags))
    values = copy.deepcopy(merged())
    *above, last = path.split(".")
    inner: Any = values
    for name in above:
        inner = inner.setdefault(name, {})
    inner[last] = data.draw(st.sampled_from(["many", [], {}, 1.5]))
    with pytest.raises(helm.HelmError, match=last):
        render(values)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"etcd": {"endpoints": ["etcd:2379"]}}, "endpoints"),
        ({"etcd": {"endpoints": ["http://user:word@etcd:2379"]}}, "endpoints"),
        ({"etcd": {"auth": {"password": "word"}}}, "password"),
        ({"etcd": {"prefix": "edge"}}, "prefix"),
        ({"node": {"labels": {"a": "1,b=2"}}}, "labels"),
        ({"node": {"labels": {"a=b": "1"}}}, "a=b"),
        ({"drain": {"rate": "fast"}}, "rate"),
        ({"drain": {"hook": "127.0.0.1:80"}}, "hook"),
        ({"drain": {"settle": -1}}, "settle"),
        ({"gateway": {"securityContext": {"privileged": True}}}, "privileged"),
        ({"gateway": {"securityContext": {"runAsNonRoot": False}}}, "runAsNonRoot"),
        ({"pod": {"runAsUser": 0}}, "runAsUser"),
        ({"sidecar": {"stopSeconds": 1}}, "stopSeconds"),
    ],
)
def test_a_value_that_can_not_work_is_refused(values: dict[str, Any], name: str) -> None:
    with pytest.raises(helm.HelmError, match=name):
        render(merged(values))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_daemon_takes_what_it_is_told(file: Any) -> None:
    values = load_values(file)
    if not values.get("workload", {}).get("enabled", True):
        return
    sidecar = gateway_pod(render(values))["initContainers"][0]
    environment = {"POD_NAME": "gw-1", "POD_NAMESPACE": "ns", "POD_IP": "10.0.0.5", "NODE_NAME": "host-1"}
    for variable in sidecar["env"]:
        if variable["name"].startswith(ENV_PREFIX):
            text = variable.get("value", "")
            environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], text)
    told = load({}, environment, None)
    assert told.address in ("10.0.0.5:8080", "10.0.0.5:9000")
    assert told.label["host"] == "host-1"
    assert told.etcd == tuple(values["etcd"]["endpoints"])
