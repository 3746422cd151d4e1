"""The command `drain` gives way to `drain status` and `drain set`."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import CompletionItem

from clusterctl.completion import complete_node_ids
from clusterctl.drain.changing import change
from clusterctl.drain.status import status
from clusterctl.options import Command

_PARTS: dict[str, click.Command] = {"set": change, "status": status}


class DrainCommand(Command):
    """The command `drain`, which steps aside where its first word is a part's. (`drain -- status` is a node.)"""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of `drain`, or that of its part."""
        part = _PARTS.get(args[0]) if args else None
        if part is not None:
            return part.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def complete_ids_or_part(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids that start so, and the parts where one may stand."""
    found = complete_node_ids(ctx, param, incomplete)
    parts = [] if ctx.params.get("ids") else [name for name in _PARTS if name.startswith(incomplete)]
    return [*map(CompletionItem, parts), *found]
