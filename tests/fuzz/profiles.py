"""How hard to look: a moment in `make test`, longer in `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SCALE = int(os.environ.get("FUZZ_SCALE", "1"))


def fuzzed(examples: int) -> settings:
    """Return the settings of a test that tries so many examples, and `FUZZ_SCALE` times as many in `make fuzz`."""
    return settings(max_examples=examples * _SCALE, deadline=None, suppress_health_check=list(HealthCheck))
