"""Which nodes are meant: by id, label, zone and state. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterd.errors import UsageError
from clusterd.node import Node

_TERM = re.compile(r"([^\s=!,]+)(?:(=|!=)([^\s,]*))?")


@dataclass(frozen=True, slots=True)
class LabelTerm:
    """One condition on the labels: `k=v`, `k!=v` (another value, or no such label), or `k` (there is one)."""

    name: str
    operator: str = ""
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> LabelTerm:
        """Return the term that `text` is, or raise `UsageError`."""
        match = _TERM.fullmatch(text)
        if match is None:
            raise UsageError(f"label selector {text!r} is not usable: give it as k=v, k!=v or k")
        return cls(match[1], match[2] or "", match[3] or "")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fulfil the condition."""
        if self.operator == "=":
            return labels.get(self.name) == self.value
        if self.operator == "!=":
            return labels.get(self.name) != self.value
        return self.name in labels


def parse_labels(texts: Iterable[str]) -> tuple[LabelTerm, ...]:
    """Return the terms of selectors, each one term or several joined by commas; raises `UsageError`."""
    return tuple(LabelTerm.parse(part.strip()) for text in texts for part in text.split(","))


@dataclass(frozen=True, slots=True)
class NodeSelection:
    """The nodes that fulfil all conditions given; without any, all nodes."""

    ids: tuple[str, ...] = ()
    labels: tuple[LabelTerm, ...] = ()
    zone: str | None = None
    state: str | None = None

    def __bool__(self) -> bool:
        return bool(self.ids or self.labels or self.zone is not None or self.state is not None)

    def matches(self, node: Node) -> bool:
        """Whether a node is selected."""
        return (
            (not self.ids or node.id in self.ids)
            and (self.zone is None or node.zone == self.zone)
            and (self.state is None or node.state == self.state)
            and all(term.matches(node.labels) for term in self.labels)
        )
