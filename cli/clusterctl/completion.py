"""Shell completion: the script for a shell, and the node ids that it offers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import click
from click.shell_completion import CompletionItem, get_completion_class

from clusterctl.options import Command, current_layers
from clusterctl.settings import Settings, resolve
from clusterd.etcd.client import Client
from clusterd.keys import NODE_ID, range_end

_PATIENCE_SECONDS = 1.0
_MOST = 1000


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and live node ids in a shell.

    \b
    bash:  eval "$(clusterctl completion bash)"       in ~/.bashrc
    zsh:   eval "$(clusterctl completion zsh)"        in ~/.zshrc, after compinit
    fish:  clusterctl completion fish | source        in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(ctx.find_root().command, {}, "clusterctl", "_CLUSTERCTL_COMPLETE").source())


def complete_node_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids that start so; nothing when etcd can't be asked within a second: completion never complains.

    Only what a node of ours could be called is offered: the shell puts it on the command line as it is.
    """
    try:
        settings = resolve(current_layers(ctx))
        ids = asyncio.run(_node_ids(settings, incomplete))
    except Exception:  # noqa: BLE001 - the person is typing: an error here would garble the line
        return []
    given = ctx.params.get("ids", ())
    return [CompletionItem(node_id) for node_id in ids if NODE_ID.fullmatch(node_id) and node_id not in given]


async def _node_ids(settings: Settings, start: str) -> list[str]:
    prefix = settings.keyspace.nodes + start.encode()
    async with asyncio.timeout(_PATIENCE_SECONDS), Client(replace(settings.etcd, timeout=_PATIENCE_SECONDS)) as client:
        reply = await client.range(prefix, range_end(prefix), keys_only=True, limit=_MOST)
    return [settings.keyspace.node_id(kv.key) for kv in reply.kvs]
