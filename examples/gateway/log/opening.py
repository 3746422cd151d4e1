"""From the URL of a log to the log."""

from __future__ import annotations

from pathlib import Path

from clusterd import UsageError
from examples.gateway.log.base import Limits, MessageLog
from examples.gateway.log.sqlite import Fsync, SqliteLog


def open_log(url: str, *, fsync: Fsync = "always", remember: float = 3600, limits: Limits | None = None) -> MessageLog:
    """Return the log at `redis://...`, or in the file at `sqlite:PATH` or a plain path.

    `remember` is in seconds. Raises `UsageError` where Redis is asked for and not installed, `LogUnavailable` for a
    file that can't be opened.
    """
    if not url.startswith(("redis://", "rediss://")):
        return SqliteLog(Path(url.removeprefix("sqlite:")), fsync=fsync, limits=limits)
    try:
        from examples.gateway.log.redis import RedisLog
    except ImportError:
        raise UsageError(f"the log {url!r} needs the package redis: pip install 'clusterd[gateway]'") from None
    return RedisLog(url, remember=remember, limits=limits)
