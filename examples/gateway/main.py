"""The commands of the gateway."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import ssl
import sys
from pathlib import Path

import click
import uvloop

from clusterd import ClusterdError, UsageError
from clusterd.aio import on_first_signal
from examples.gateway.errors import GatewayError
from examples.gateway.janitor import Retention
from examples.gateway.ledger import Ledger
from examples.gateway.log import open_log
from examples.gateway.log.sqlite import Fsync
from examples.gateway.node import Gateway, Settings

log = logging.getLogger(__name__)

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """A real-time message gateway: WebSocket clients, mailboxes and rooms, on as many nodes as one likes."""


@main.command()
@click.option("--node", required=True, help="The node id, unique in the fleet.")
@click.option("--etcd", default="http://127.0.0.1:2379", show_default=True, help="URLs of etcd, joined by commas.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen, and where to be found.")
@click.option("--port", default=0, help="For clients; 0 takes a free one.")
@click.option("--link-port", default=0, help="For other nodes; 0 takes a free one.")
@click.option("--advertise-link", default="", help="HOST:PORT at which other nodes find it, if that is another one.")
@click.option("--log", "log_url", default="", help="redis://..., or a file of this node's own [gateway-NODE.db].")
@click.option("--fsync", type=click.Choice(["always", "never"]), default="always", show_default=True)
@click.option("--secret-file", type=_FILE, required=True, help="Shared by all nodes.")
@click.option("--user-secret-file", type=_FILE, help="Makes the users' tokens.")
@click.option("--tls-cert", type=click.Path(dir_okay=False), help="With --tls-key and --tls-ca: mutual TLS for links.")
@click.option("--tls-key", type=click.Path(dir_okay=False))
@click.option("--tls-ca", type=click.Path(dir_okay=False))
@click.option("--prefix", default="/", show_default=True, help="What all keys in etcd start with.")
@click.option("--ttl", default=10, show_default=True, help="Seconds after which a silent node is counted out.")
@click.option("--zone", default="")
@click.option("--weight", default=100, show_default=True, help="Its share of the streams; 0: it keeps none.")
@click.option("--coalesce", default=0.0, help="Seconds for which frames are gathered; 0: those of one loop turn.")
@click.option("--within", default=2.0, show_default=True, help="Seconds over which drained clients come back.")
@click.option("--drain-timeout", default=20.0, show_default=True)
@click.option("--keep", default=7 * 86_400.0, show_default=True, help="Seconds for which messages are kept.")
@click.option("--remember", default=3_600.0, show_default=True, help="Seconds for which ids are known.")
@click.option("--expire-every", default=60.0, show_default=True)
def node(
    node: str,
    etcd: str,
    host: str,
    port: int,
    link_port: int,
    advertise_link: str,
    log_url: str,
    fsync: Fsync,
    secret_file: Path,
    user_secret_file: Path | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    prefix: str,
    ttl: int,
    zone: str,
    weight: int,
    coalesce: float,
    within: float,
    drain_timeout: float,
    keep: float,
    remember: float,
    expire_every: float,
) -> None:
    """Run one node, until SIGTERM: then its clients are sent elsewhere, and what it keeps is handed over."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("picows").setLevel(logging.WARNING)
    try:
        settings = Settings(
            node=node,
            etcd=etcd,
            secret=read_secret(secret_file),
            host=host,
            port=port,
            link_port=link_port,
            advertise_link=advertise_link,
            prefix=prefix,
            ttl=ttl,
            zone=zone,
            weight=weight,
            coalesce=coalesce,
            within=within,
            user_secret=read_secret(user_secret_file) if user_secret_file else b"",
            retention=Retention(keep, remember, expire_every),
            tls=mutual_tls(tls_cert, tls_key, tls_ca),
        )
        messages_url = log_url or f"gateway-{node}.db"
        _tune()
        uvloop.run(serve(settings, messages_url, fsync, drain_timeout))
    except (ClusterdError, GatewayError, OSError) as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 1))


@main.command()
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 20))
@click.option("--port", default=0, help="For the router, and the page through it; 0 takes a free one.")
@click.option("--log", "log_url", default="", help="redis://... for all, or [a file each].")
def fleet(nodes: int, port: int, log_url: str) -> None:
    """Run an etcd and some nodes here, to try it out."""
    from examples.gateway.demo import run_fleet

    try:
        asyncio.run(run_fleet(nodes, port, log_url))
    except (ClusterdError, OSError) as error:
        click.echo(f"gateway: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 1))


@main.command()
@click.argument("urls", nargs=-1, required=True)
@click.option("--people", default=12, show_default=True, type=click.IntRange(2, 90))
@click.option("--pause", default=0.05, show_default=True, help="Seconds between one's messages.")
@click.option("--settle", default=20.0, show_default=True, help="Seconds to wait for what is under way, at the end.")
def traffic(urls: tuple[str, ...], people: int, pause: float, settle: float) -> None:
    """Have people write to each other at nodes (ws://HOST:PORT/ws) until SIGTERM, and count what came of it.

    Exit code 0 when everything came once, 1 when something was lost or came twice.
    """
    ledger = uvloop.run(_traffic(urls, people, pause, settle))
    click.echo(json.dumps({**ledger.figures(), "over": True}))
    sys.exit(1 if ledger.lost or ledger.duplicated or ledger.misdelivered else 0)


async def _traffic(urls: tuple[str, ...], people: int, pause: float, settle: float) -> Ledger:
    from examples.gateway.traffic import run_traffic

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return await run_traffic(urls, people, pause, settle, stop)


def _tune() -> None:
    """Set up the interpreter for many connections, and for a log with a thread of its own."""
    # What was loaded stays; of connections nearly nothing is garbage in cycles, and looking for it takes long.
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
    # A loop that writes to thousands would let the log's thread wait for 5 ms each time it comes back from SQLite.
    sys.setswitchinterval(0.001)


async def serve(settings: Settings, log_url: str, fsync: Fsync, drain_timeout: float) -> None:
    """Be a node until a signal comes, then drain. A second signal ends the process at once."""
    stop = asyncio.Event()
    with on_first_signal(stop.set):
        messages = open_log(log_url, fsync=fsync, remember=settings.retention.ids)
        async with Gateway(settings, messages) as gateway:
            log.info(
                "node %s takes clients at http://%s:%d/ and links at port %d",
                settings.node,
                settings.host,
                gateway.reception.port,
                gateway.mesh.port,
            )
            await stop.wait()
            await gateway.drain(drain_timeout)


def read_secret(path: Path) -> bytes:
    """Return the secret in a file. Raises `UsageError` for a short one, `OSError` for none."""
    secret = path.read_bytes().strip()
    if len(secret) < 16:
        raise UsageError(f"the secret in {path} is too short: give 16 bytes or more, as `openssl rand -hex 32` does")
    return secret


def mutual_tls(cert: str | None, key: str | None, ca: str | None) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    """Return the contexts for dialling and for taking links. Raises `UsageError` if some of the three are missing."""
    if not (cert or key or ca):
        return None
    if not (cert and key and ca):
        raise UsageError("mutual TLS needs all of --tls-cert, --tls-key and --tls-ca")
    contexts = []
    for purpose in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
        context = ssl.create_default_context(purpose, cafile=ca)
        context.load_cert_chain(cert, key)
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    return contexts[0], contexts[1]
