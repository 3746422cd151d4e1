"""Shell completion: the script for a shell, and the ids of nodes and names of elections that it offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from clusterctl.options import Command, current_layers
from clusterctl.settings import Settings, resolve
from clusterd.etcd.client import Client
from clusterd.keys import NODE_ID, range_end

_PATIENCE_SECONDS = 1.0
_MOST = 1000
_Read = Callable[[Settings, str], Coroutine[Any, Any, list[str]]]


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, live node ids and names of elections in a shell.

    \b
    bash:  eval "$(clusterctl completion bash)"       in ~/.bashrc
    zsh:   eval "$(clusterctl completion zsh)"        in ~/.zshrc, after compinit
    fish:  clusterctl completion fish | source        in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(ctx.find_root().command, {}, "clusterctl", "_CLUSTERCTL_COMPLETE").source())


def complete_node_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids that start so."""
    given = ctx.params.get("ids") or ()
    return _offer(ctx, _node_ids, incomplete, given)


def complete_election_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of elections that start so."""
    return _offer(ctx, _election_names, incomplete)


def _offer(ctx: click.Context, read: _Read, start: str, given: Iterable[str] = ()) -> list[CompletionItem]:
    """Return what is found; nothing when etcd can't be asked within a second: completion never complains.

    Only what a node or an election of ours could be called is offered: the shell puts it on the command line as it is.
    """
    try:
        found = asyncio.run(read(resolve(current_layers(ctx)), start))
    except Exception:  # noqa: BLE001 - the person is typing: an error here would garble the line
        return []
    return [CompletionItem(name) for name in found if NODE_ID.fullmatch(name) and name not in given]


async def _node_ids(settings: Settings, start: str) -> list[str]:
    keys = await _keys(settings, settings.keyspace.nodes + start.encode())
    return [settings.keyspace.node_id(key) for key in keys]


async def _election_names(settings: Settings, start: str) -> list[str]:
    prefix = settings.keyspace.elections
    keys = await _keys(settings, prefix + start.encode())
    names = (key[len(prefix) :].rpartition(b"/")[0].decode(errors="replace") for key in keys)
    return list(dict.fromkeys(names))


async def _keys(settings: Settings, prefix: bytes) -> list[bytes]:
    async with asyncio.timeout(_PATIENCE_SECONDS), Client(replace(settings.etcd, timeout=_PATIENCE_SECONDS)) as client:
        reply = await client.range(prefix, range_end(prefix), keys_only=True, limit=_MOST)
    return [kv.key for kv in reply.kvs]
