"""Command-line tools as the harness runs them: etcdctl, ip."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from clusterd.child import Child
from clusterd.errors import ClusterdError


class ToolFailed(ClusterdError):
    """A command-line tool ended with an error, or didn't end in time."""


async def run_tool(
    argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None, timeout: float = 30.0
) -> str:
    """Run a command and return what it wrote to both its outputs. Raises `ToolFailed`; nothing is left running."""
    child = await Child.spawn(argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    assert child.stdout is not None  # noqa: S101 - it was asked to be a pipe
    try:
        async with asyncio.timeout(timeout):
            output = (await child.stdout.read()).decode(errors="replace").strip()
            code = await child.wait()
    except TimeoutError:
        raise ToolFailed(f"{argv[0]} did not end within {timeout:g} s") from None
    finally:
        await child.kill()
    if code:
        raise ToolFailed(f"{os.fspath(argv[0])} failed with code {code}: {output}")
    return output
