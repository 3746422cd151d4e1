"""Whatever the values are: pods stay within the restricted security standard, and the times of a pod's end add up."""

from __future__ import annotations

import re
from typing import Any

import helm_python as helm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chart.rendering import EXAMPLES, Manifest, containers, gateway_pod, load, merged, pods, render, the

CONTRADICTIONS = {
    "deadline within settling": ({"drain": {"settle": 30, "deadline": 60}}, "drain.deadline 60 leaves no time"),
    "two paces": ({"drain": {"rate": 5, "over": 10}}, "drain.rate and drain.over"),
    "a pace past the deadline": ({"drain": {"over": 51}}, "drain.over 51 does not fit .* at most 50"),
    "too short a grace": ({"terminationGracePeriodSeconds": 92}, "terminationGracePeriodSeconds 92 is too short.* 93;"),
    "no etcd": ({"etcd": {"endpoints": []}}, "etcd.endpoints is required"),
    "no image": ({"image": {"repository": ""}}, "image.repository is required"),
    "no gateway": ({"gateway": {"image": {"repository": ""}}}, "gateway.image.repository is required"),
    "TLS without https": ({"etcd": {"tls": {"existingSecret": "t"}}}, "no endpoint is https"),
    "a certificate without its key": (
        {"etcd": {"endpoints": ["https://e:2379"], "tls": {"existingSecret": "t", "certKey": "tls.crt"}}},
        "certKey and etcd.tls.keyKey belong together",
    ),
    "a user without a password": ({"etcd": {"auth": {"username": "u"}}}, "belong together"),
    "a password without a user": ({"etcd": {"auth": {"existingSecret": "s"}}}, "belong together"),
    "one port twice": ({"gateway": {"port": 8471}}, "gateway.port and sidecar.probesPort are both 8471"),
    "a command that isn't used": ({"gateway": {"preStop": {"command": ["x"]}}}, "set it to command"),
    "no command": ({"gateway": {"preStop": {"mode": "command"}}}, "give gateway.preStop.command"),
    "two monitors": (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "would each scrape every pod",
    ),
    "a rollout that can't go on": ({"workload": {"maxSurge": 0}}, "no pod could ever be replaced"),
    "two budgets": ({"podDisruptionBudget": {"minAvailable": 1}}, "takes one of"),
    "a budget of nothing": ({"podDisruptionBudget": {"maxUnavailable": 0}}, "lets no pod go"),
    "a budget of all": (
        {"podDisruptionBudget": {"maxUnavailable": None, "minAvailable": 3}},
        "minAvailable 3 of workload.replicas 3",
    ),
    "a pod monitor of no pods": (
        {"workload": {"enabled": False}, "monitoring": {"podMonitor": {"enabled": True}}},
        "needs pod.selector",
    ),
}


@pytest.mark.parametrize(("values", "reason"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_values_that_contradict_each_other_are_refused_by_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(helm.HelmError, match=reason):
        render(merged(values))


@st.composite
def drains(draw: st.DrawFn) -> dict[str, Any]:
    settle = draw(st.integers(0, 60))
    deadline = draw(st.integers(2 * settle + 1, 2 * settle + 600))
    pace = draw(st.sampled_from(["rate", "over", "none"]))
    return {
        "settle": settle,
        "deadline": deadline,
        "rate": draw(st.sampled_from([0.5, 1, 500])) if pace == "rate" else None,
        "over": draw(st.integers(1, deadline - 2 * settle)) if pace == "over" else None,
    }


times = st.fixed_dictionaries({
    "drain": drains(),
    "gateway": st.fixed_dictionaries({
        "stopSeconds": st.integers(1, 300),
        "preStop": st.fixed_dictionaries({"mode": st.sampled_from(["shell", "sleep", "none"])}),
        "livenessProbe": st.sampled_from([{}, {"httpGet": {"port": "gateway"}}]),
    }),
    "sidecar": st.fixed_dictionaries({"stopSeconds": st.integers(3, 60)}),
})  # fmt: skip

secrets = st.sampled_from(["", "etcd-secret"])
values_of_all_kinds = st.fixed_dictionaries({
    "commonLabels": st.dictionaries(
        st.sampled_from(["team", "app.kubernetes.io/name", "app.kubernetes.io/instance"]), st.just("edge")
    ),
    "pod": st.fixed_dictionaries({
        "runAsUser": st.integers(1, 70000),
        "labels": st.dictionaries(st.sampled_from(["tier", "app.kubernetes.io/name"]), st.just("x")),
    }),
    "workload": st.fixed_dictionaries({
        "kind": st.sampled_from(["Deployment", "StatefulSet"]),
        "replicas": st.one_of(st.none(), st.integers(0, 100)),
    }),
    "etcd": st.one_of(
        st.just({}),
        st.fixed_dictionaries({
            "endpoints": st.just(["https://etcd:2379"]),
            "tls": st.just({"existingSecret": "etcd-tls", "certKey": "tls.crt", "keyKey": "tls.key"}),
            "auth": st.just({"username": "gw", "existingSecret": "etcd-auth"}),
        }),
    ),
    "topologySpread": st.fixed_dictionaries({"enabled": st.booleans()}),
    "networkPolicy": st.fixed_dictionaries({
        "enabled": st.booleans(), "egress": st.fixed_dictionaries({"enabled": st.booleans()}),
    }),
    "serviceAccount": st.fixed_dictionaries({"create": st.booleans()}),
    "service": st.fixed_dictionaries({"enabled": st.booleans()}),
})  # fmt: skip


def seconds_of_the_hook(container: Manifest) -> int:
    """How long the container's preStop hook takes at the most, by its own word."""
    hook = container.get("lifecycle", {}).get("preStop")
    if hook is None:
        return 0
    if "sleep" in hook:
        return int(hook["sleep"]["seconds"])
    command = hook["exec"]["command"]
    own = [int(word.partition("=")[2]) for word in command if word.startswith("--timeout=")]
    return own[0] if own else int(command[-1])


@given(times)
@settings(max_examples=60, deadline=None)
def test_the_grace_period_covers_the_hooks_and_both_stops(values: dict[str, Any]) -> None:
    pod = gateway_pod(render(merged(values)))
    (sidecar,), (gateway,) = pod["initContainers"], pod["containers"]
    drained, waited = seconds_of_the_hook(sidecar), seconds_of_the_hook(gateway)
    assert drained > values["drain"]["deadline"]
    if values["gateway"]["preStop"]["mode"] != "none":
        assert waited > drained, "the gateway would get SIGTERM while its sessions move"
    stops = values["gateway"]["stopSeconds"] + values["sidecar"]["stopSeconds"]
    assert pod["terminationGracePeriodSeconds"] >= max(drained, waited) + stops
    leave = next(int(v["value"]) for v in sidecar["env"] if v["name"] == "CLUSTERD_DRAIN_TIMEOUT")
    assert leave < values["sidecar"]["stopSeconds"]


@given(times)
@settings(max_examples=20, deadline=None)
def test_a_hung_container_is_restarted_without_waiting_for_a_drain(values: dict[str, Any]) -> None:
    pod = gateway_pod(render(merged(values)))
    for container in containers(pod):
        if "livenessProbe" in container:
            assert container["livenessProbe"]["terminationGracePeriodSeconds"] < pod["terminationGracePeriodSeconds"]


@given(values_of_all_kinds)
@settings(max_examples=60, deadline=None)
def test_every_pod_is_within_the_restricted_standard(values: dict[str, Any]) -> None:
    manifests = render(merged(values))
    for pod in pods(manifests):
        assert_restricted(pod)
    workload = the(values["workload"]["kind"], manifests)["spec"]
    assert workload["selector"]["matchLabels"].items() <= workload["template"]["metadata"]["labels"].items()


def assert_restricted(pod: Manifest) -> None:
    """The Pod Security Standard `restricted`, and what the chart promises beyond it."""
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for volume in pod.get("volumes", []):
        assert volume.keys() - {"name"} <= {"emptyDir", "secret"}
    for container in containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not context.get("privileged")
        assert not [port for port in container.get("ports", []) if "hostPort" in port]


def test_only_the_sidecar_is_given_the_secrets_of_etcd() -> None:
    pod = gateway_pod(render(load(next(file for file in EXAMPLES if file.stem == "full-values"))))
    (sidecar,), (gateway,) = pod["initContainers"], pod["containers"]
    assert {"clusterd-auth", "clusterd-tls"} <= {mount["name"] for mount in sidecar["volumeMounts"]}
    assert {"clusterd-auth", "clusterd-tls"}.isdisjoint(mount["name"] for mount in gateway["volumeMounts"])


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_no_manifest_holds_a_secret(file: Any) -> None:
    manifests = render(load(file))
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    for pod in pods(manifests):
        for container in containers(pod):
            secret = re.compile("PASSWORD|TOKEN|SECRET|KEY")
            plain = [v["name"] for v in container.get("env", []) if "value" in v and secret.search(v["name"])]
            assert [name for name in plain if not name.endswith(("_FILE", "D_KEY", "L_KEY"))] == []
            words = " ".join([*container.get("command", []), *container.get("args", [])])
            assert not re.search("(?i)password|token", words)


def test_the_control_listener_is_never_reachable_from_outside_the_pod() -> None:
    for file in EXAMPLES:
        for pod in pods(render(load(file))):
            for container in pod.get("initContainers", []):
                control = [v["value"] for v in container["env"] if v["name"] == "CLUSTERD_CONTROL"]
                assert control == ["127.0.0.1:8470"]
                assert 8470 not in [port["containerPort"] for port in container["ports"]]


def test_the_sidecar_starts_before_and_ends_after_what_stands_beside_it() -> None:
    pod = gateway_pod(render(merged({"pod": {"initContainers": [{"name": "migrate", "image": "x"}]}})))
    assert [container["name"] for container in pod["initContainers"]] == ["clusterd", "migrate"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"


def test_an_ipv6_pod_can_be_described() -> None:
    values = merged({"sidecar": {"listen": "::"}})
    environment = {v["name"]: v.get("value") for v in gateway_pod(render(values))["initContainers"][0]["env"]}
    assert environment["CLUSTERD_ADDRESS"] == "[$(POD_IP)]:8080"
    assert environment["CLUSTERD_PROBES"] == "[::]:8471"
