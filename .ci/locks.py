"""The locks: renew them, and say where they don't satisfy pyproject.toml.

python .ci/locks.py check            one line for each requirement that a lock lacks; exit code 1 if there is any
python .ci/locks.py renew [--upgrade] [PACKAGE…]    write them anew, keeping versions that still fit; needs uv
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("linux", "darwin")
RUNTIME_EXTRA = "otel"  # off until its environment variables are set; an image can't be added to
RUNTIME, BUILD, DEV = "requirements.lock", "requirements-build.lock", "requirements-dev.lock"
_COMPILE = (
    *("pip", "compile", "--quiet", "--universal", f"--python-version={PYTHONS[0]}", "--generate-hashes"),
    *("--custom-compile-command=make lock", "--annotation-style=line", "--no-emit-index-url", "--no-emit-find-links"),
)


class Pin(NamedTuple):
    """One entry of a lock."""

    requirement: Requirement
    hashes: int

    @property
    def version(self) -> Version:
        """The version that it pins."""
        (specifier,) = self.requirement.specifier
        return Version(specifier.version)


def read_lock(text: str) -> list[Pin]:
    """Return the entries of a lock. Raises `ValueError` for what is no pin."""
    pins = []
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=", entry.strip())
        pin = Requirement(requirement)
        if [specifier.operator for specifier in pin.specifier] != ["=="]:
            raise ValueError(f"{entry!r} is not pinned to a version")
        pins.append(Pin(pin, len(hashes)))
    return pins


def required(project: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return for each lock what pyproject.toml asks of it."""
    runtime = set(project["project"]["dependencies"])
    extras = {name: list(wanted) for name, wanted in project["project"]["optional-dependencies"].items()}
    own = project["project"]["name"]
    optional = {one for wanted in extras.values() for one in wanted if Requirement(one).name != own}
    build = set(project["build-system"]["requires"])
    return {RUNTIME: runtime | set(extras.get(RUNTIME_EXTRA, ())), BUILD: build, DEV: runtime | optional | build}


def environments() -> Iterator[dict[str, str]]:
    """The interpreters that a lock is for, as far as markers tell them apart."""
    for python in PYTHONS:
        for platform in PLATFORMS:
            system = {"linux": "Linux", "darwin": "Darwin"}[platform]
            yield {
                "python_version": python,
                "python_full_version": f"{python}.0",
                "sys_platform": platform,
                "platform_system": system,
                "os_name": "posix",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
                "extra": "",
            }


def unmet(wanted: Iterable[str], pins: Iterable[Pin]) -> Iterator[str]:
    """Say what the pins lack of what is wanted."""
    by_name: dict[str, list[Pin]] = {}
    for pin in pins:
        by_name.setdefault(canonicalize_name(pin.requirement.name), []).append(pin)
    for text in sorted(wanted):
        requirement = Requirement(text)
        candidates = by_name.get(canonicalize_name(requirement.name), [])
        for environment in environments():
            if not _applies(requirement, environment):
                continue
            if not any(_applies(p.requirement, environment) and p.version in requirement.specifier for p in candidates):
                yield f"has no {text} for Python {environment['python_version']} on {environment['sys_platform']}"
                break


def faults(texts: Mapping[str, str], project: Mapping[str, Any]) -> Iterator[str]:
    """Say in a line each what is wrong with the locks, given as texts by file name."""
    locks = {name: read_lock(text) for name, text in texts.items()}
    for name, pins in locks.items():
        yield from (f"{name} {fault}: run `make lock`" for fault in unmet(required(project)[name], pins))
        yield from (f"{name} has no hash for {pin.requirement}: run `make lock`" for pin in pins if not pin.hashes)
    dev = {str(pin.requirement) for pin in locks[DEV]}
    for name in (RUNTIME, BUILD):
        for pin in locks[name]:
            if not any(other.startswith(f"{pin.requirement.name}=={pin.version}") for other in dev):
                yield f"{name} pins {pin.requirement}, which {DEV} doesn't: run `make lock`"


def _applies(requirement: Requirement, environment: Mapping[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(dict(environment))


def check() -> int:
    """Print the faults of the locks; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = list(faults({name: (ROOT / name).read_text() for name in (RUNTIME, BUILD, DEV)}, project))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def renew(*options: str) -> int:
    """Write the locks anew: first the one of everything, then those of its parts at the same versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = "\n".join(project["build-system"]["requires"])
    _compile(DEV, ["pyproject.toml", "-", "--all-extras", *options], build)
    _compile(RUNTIME, ["pyproject.toml", "--extra", RUNTIME_EXTRA, "--constraints", DEV])
    _compile(BUILD, ["-", "--constraints", DEV], build)
    return check()


def _compile(lock: str, arguments: list[str], stdin: str = "") -> None:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), *_COMPILE, *arguments, "--output-file", lock]
    subprocess.run(command, cwd=ROOT, input=stdin, text=True, check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            sys.exit(check())
        case ["renew", *options]:
            sys.exit(renew(*options))
        case _:
            sys.exit(__doc__)
