"""How many nodes may be out of service: a count, or a share of the fleet. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from clusterd.errors import UsageError

_LIMIT = re.compile(r"([0-9]{1,6})(%?)")


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of nodes: `2`, or `25%` of however many there are when it matters."""

    value: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Return the limit that `2` or `25%` means; raises `UsageError` naming the setting `name`."""
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{name} {text!r} is not a number of nodes: give it like 2 or 25%")
        limit = cls(int(match[1]), bool(match[2]))
        if limit.value == 0 or (limit.percent and limit.value > 100):
            raise UsageError(f"{name} {text!r} is out of range: give 1 or more nodes, or 1% to 100%")
        return limit

    def __str__(self) -> str:
        return f"{self.value}{'%' if self.percent else ''}"

    def at_most(self, total: int) -> int:
        """Return how many of `total` nodes the limit allows: a share is rounded down, but one node always may."""
        return max(1, total * self.value // 100) if self.percent else self.value

    def at_least(self, total: int) -> int:
        """Return how many of `total` nodes the limit demands: a share is rounded up."""
        return -(-total * self.value // 100) if self.percent else self.value
