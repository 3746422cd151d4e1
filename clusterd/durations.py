"""Spans of time, as people write them."""

from __future__ import annotations

import re

from clusterd.errors import UsageError

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str, name: str) -> float:
    """Return the seconds of `5`, `5s`, `500ms`, `2m`, `1h` or `1d`; raises `UsageError` naming the setting `name`."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{name} {text!r} is not a duration: give it like 5s, 500ms or 2m")
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if seconds <= 0:
        raise UsageError(f"{name} {text!r} is out of range: it must be more than 0")
    return seconds
