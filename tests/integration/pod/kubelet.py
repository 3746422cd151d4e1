"""What a kubelet does with one pod, as far as its containers' lives go, with processes of this host for containers.

After Kubernetes' own killContainer: each container's preStop hook runs at once; a sidecar then waits until the main
containers have ended; then comes SIGTERM, and SIGKILL when the pod's grace period is over, but not within two seconds.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from clusterd.aio import Deadline
from clusterd.child import Child
from clusterd.testing import AgentProcess

LEAST_GRACE = 2.0
Spec = Mapping[str, Any]


class Container:
    """One container of the pod: `entrypoint` is what its image would say, `paths` where its mounts are on this host."""

    def __init__(self, spec: Spec, pod: Mapping[str, str], entrypoint: Sequence[str], paths: Mapping[str, str]) -> None:
        self.spec = spec
        self.name = spec["name"]
        self.ended = asyncio.Event()
        self.hook_code: int | None = None
        self.hook_seconds = 0.0
        self.terminated_at: float | None = None
        self.returncode: int | None = None
        self._paths = paths
        self.env = self._environment(pod)
        argv = [*(spec.get("command") or entrypoint), *spec.get("args", [])]
        self.process = AgentProcess(command=self._here(argv), env=self.env)

    async def probed(self, kind: str) -> bool:
        """Whether its probe of that kind succeeds."""
        probe = self.spec[kind]
        port = {entry["name"]: entry["containerPort"] for entry in self.spec["ports"]}[probe["httpGet"]["port"]]
        url = f"http://127.0.0.1:{port}{probe['httpGet']['path']}"
        limit = aiohttp.ClientTimeout(total=probe.get("timeoutSeconds", 1))
        try:
            async with aiohttp.ClientSession(timeout=limit) as http, http.get(url) as answer:
                return 200 <= answer.status < 400
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def started(self) -> None:
        """Wait for its startup probe. Raises `AssertionError` when that has failed as often as it may."""
        probe = self.spec["startupProbe"]
        for _ in range(probe["failureThreshold"]):
            if await self.probed("startupProbe"):
                return
            await asyncio.sleep(probe["periodSeconds"])
        raise AssertionError(f"{self.name} did not start: {self.process.lines[-5:]}")

    async def kill(self, grace: Deadline, before: Sequence[Container] = ()) -> None:
        """End it: its hook, its turn, SIGTERM, SIGKILL."""
        began = time.monotonic()
        if hook := self.spec.get("lifecycle", {}).get("preStop"):
            self.hook_code = await self._run_hook(hook, grace)
        self.hook_seconds = time.monotonic() - began
        try:
            async with asyncio.timeout(max(grace.remaining, 0)):
                for container in before:
                    await container.ended.wait()
        except TimeoutError:
            pass
        self.terminated_at = time.monotonic()
        if self.process.running:
            self.returncode = await self.process.terminate(max(grace.remaining, LEAST_GRACE))
        self.ended.set()

    async def _run_hook(self, hook: Spec, grace: Deadline) -> int | None:
        """Run it within the grace period; None if it had to be cut off."""
        if "sleep" in hook:
            await asyncio.sleep(min(hook["sleep"]["seconds"], grace.remaining))
            return 0
        child = await Child.spawn(self._here(hook["exec"]["command"]), env=self.env)
        try:
            async with asyncio.timeout(grace.remaining):
                return await child.wait()
        except TimeoutError:
            return None
        finally:
            await child.kill()

    def _environment(self, pod: Mapping[str, str]) -> dict[str, str]:
        env: dict[str, str] = {}
        for entry in self.spec.get("env", []):
            if "value" in entry:
                env[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: env.get(m[1], m[0]), entry["value"])
            else:
                env[entry["name"]] = pod.get(entry["valueFrom"]["fieldRef"]["fieldPath"], "")
        here = {name: self._here([value])[0] for name, value in env.items()}
        return here | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def _here(self, words: Sequence[str]) -> list[str]:
        """Put this host's paths in place of those of the mounts."""
        for mount in self.spec.get("volumeMounts", []):
            words = [word.replace(mount["mountPath"], self._paths[mount["name"]]) for word in words]
        return list(words)


class Pod:
    """A pod of the chart; an async context manager that leaves no process behind."""

    def __init__(self, spec: Spec, name: str, volumes: Path, entrypoints: Mapping[str, Sequence[str]]) -> None:
        fields = {"metadata.name": name, "metadata.namespace": "gateways", "status.podIP": "127.0.0.1"}
        paths = {volume["name"]: str(volumes / name / volume["name"]) for volume in spec["volumes"]}
        for path in paths.values():
            Path(path).mkdir(parents=True)

        def make(container: Spec) -> Container:
            return Container(container, fields, entrypoints.get(container["name"], ()), paths)

        self.name = name
        self.grace = float(spec["terminationGracePeriodSeconds"])
        self.sidecars = [make(container) for container in spec["initContainers"]]
        self.mains = [make(container) for container in spec["containers"]]

    async def start(self) -> None:
        """Start the sidecars one after the other, and then the main containers."""
        for sidecar in self.sidecars:
            await sidecar.process.start()
            await sidecar.started()
        for container in self.mains:
            await container.process.start()

    async def ready(self) -> bool:
        """Whether every readiness probe succeeds."""
        probed = [c for c in (*self.sidecars, *self.mains) if "readinessProbe" in c.spec]
        return all([await container.probed("readinessProbe") for container in probed])

    async def delete(self) -> float:
        """End the pod; return the seconds that it took."""
        grace = Deadline.after(self.grace)
        async with asyncio.TaskGroup() as tasks:
            for container in self.mains:
                tasks.create_task(container.kill(grace))
            for sidecar in self.sidecars:
                tasks.create_task(sidecar.kill(grace, self.mains))
        return self.grace - grace.remaining

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for container in (*self.mains, *self.sidecars):
            if container.process.running:
                await container.process.kill()
