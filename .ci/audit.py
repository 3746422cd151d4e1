"""Look the installed dependencies up among known vulnerabilities, with pip-audit.

pip-audit says "No known vulnerabilities found" also of packages that it could not look up, where its data can't be
reached or a mirror doesn't carry it. Here that is no answer: exit code 0 when every package was looked up and none is
known to be vulnerable, 1 when one is, 3 when some could not be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

CLEAN, VULNERABLE, UNKNOWN = 0, 1, 3
SERVICES = ("pypi", "osv")
OURS = "clusterd"
SECONDS = 300


def main() -> int:
    """Ask one service after the other until one knows the packages; say what came of it in a few lines."""
    for service in SERVICES:
        packages, trouble = ask(service)
        found = [package for package in packages if package.get("vulns")]
        unknown = [package["name"] for package in packages if "skip_reason" in package]
        if found:
            print("\n".join(line for package in found for line in lines(package)))
            return VULNERABLE
        if packages and not unknown:
            print(f"audit: {len(packages)} packages looked up at {service}, no vulnerability is known")
            return CLEAN
        why = trouble or f"{len(unknown)} of {len(packages)} packages are not known there"
        print(f"audit: {service}: {why}", file=sys.stderr)
    print("audit: NOT CHECKED: run this from where the data of PyPI or osv.dev can be reached", file=sys.stderr)
    return UNKNOWN


def ask(service: str) -> tuple[list[dict[str, Any]], str]:
    """Return what pip-audit says of each package, without our own; or nothing, and why."""
    command = [sys.executable, "-m", "pip_audit", "--local", "-f", "json", "--progress-spinner=off", "-s", service]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {SECONDS} s"
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], last_line(ended.stderr)
    return [package for package in packages if package["name"] != OURS], ""


def lines(package: dict[str, Any]) -> Iterable[str]:
    """Yield a line for each vulnerability of a package."""
    for vulnerability in package["vulns"]:
        fixed = ", ".join(vulnerability.get("fix_versions", ())) or "no release yet"
        yield f"audit: {package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}"


def last_line(text: str) -> str:
    """Return the last line of what a program said, cut."""
    return (text.strip().splitlines() or ["it ended without a word"])[-1][:200]


if __name__ == "__main__":
    sys.exit(main())
