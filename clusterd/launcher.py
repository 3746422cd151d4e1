"""Replaces itself by a command that the kernel kills when the process that asked for it dies.

Run as a script, `launcher.py PARENT-PID COMMAND [ARGUMENT…]`, never imported by what it launches. A script and not a
`preexec_fn`, which may deadlock in a process that has threads. It uses the standard library alone, so that
it starts fast (`python -I -S`). Only Linux can do this; elsewhere the command runs without that protection.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel send SIGKILL to this process, and to what it executes, when its parent thread ends.

    Raises `SystemExit` if `parent` is already gone.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel knew what to do then
        raise SystemExit(1)


def main(arguments: list[str]) -> None:
    """Become the command in `arguments[1:]`, a child of the process `arguments[0]`."""
    die_with_parent(int(arguments[0]))
    os.execvp(arguments[1], arguments[1:])  # noqa: S606 - a shell is what this must not be


if __name__ == "__main__":
    main(sys.argv[1:])
