"""Spans of time, as people write and read them."""

from __future__ import annotations

import re

from clusterd.durations import parse_duration

__all__ = ["brief", "humanize", "milliseconds", "parse_duration", "parse_span"]

_ZERO = re.compile(r"0+(?:\.0+)?(?:ms|s|m|h|d)?")
_STEPS = ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s"))


def parse_span(text: str, name: str) -> float:
    """Return the seconds of a duration that may be nothing: `0`, `10s`; raises `UsageError` naming the setting."""
    return 0.0 if _ZERO.fullmatch(text.strip()) else parse_duration(text, name)


def humanize(seconds: float) -> str:
    """Return a span in its two largest units: `12s`, `3m10s`, `5h2m`, `4d7h`. A negative one counts as 0."""
    whole = max(0, int(seconds))
    for large, large_unit, small, small_unit in _STEPS:
        if whole >= large:
            rest = whole % large // small
            return f"{whole // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")
    return f"{whole}s"


def brief(seconds: float) -> str:
    """Return a short span in the unit that fits: `12 ms`, `2.3 s`."""
    return milliseconds(seconds) if seconds < 1 else f"{seconds:.1f} s"


def milliseconds(seconds: float) -> str:
    """Return a short span in milliseconds: `0.8 ms`, `12 ms`."""
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
