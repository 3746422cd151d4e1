"""The command: `python -m examples.router`."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import resource
import ssl
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from clusterd import TLS, ClusterdError, EtcdOptions, Observer, UsageError
from clusterd.sidecar import logs
from examples.router.keys import key_of
from examples.router.server import Listener, serve
from examples.router.settings import STRATEGIES, Limits, Settings

_LIMITS = {each.name: each.default for each in fields(Limits)}


Wrap = Callable[[Callable[..., None]], Callable[..., None]]


def _limit(name: str, text: str) -> Wrap:
    default = _LIMITS[name]
    kind = click.FloatRange(0, min_open=True) if isinstance(default, float) else click.IntRange(1)
    return click.option(f"--{name.replace('_', '-')}", type=kind, default=default, show_default=True, help=text)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "ROUTER"})
@click.option("--listen", metavar="HOST:PORT", default="127.0.0.1:8080", show_default=True, help="Port 0: a free one.")
@click.option("--probes", metavar="HOST:PORT|off", default="off", show_default=True, help="/livez, /readyz, /nodes.")
@click.option("--cert", type=click.Path(path_type=Path), help="Certificate: serve HTTPS and WSS.")
@click.option("--key", type=click.Path(path_type=Path), help="The certificate's key.")
@click.option("--shared", is_flag=True, help="Share the port with other routers on this host (SO_REUSEPORT).")
@click.option("--etcd", metavar="URL,URL", default="http://127.0.0.1:2379", show_default=True, help="etcd endpoints.")
@click.option("--etcd-cacert", type=click.Path(path_type=Path), help="CA to trust for https endpoints.")
@click.option("--etcd-user", metavar="NAME", help="etcd user; needs --etcd-password-file.")
@click.option("--etcd-password-file", type=click.Path(path_type=Path), help="File whose first line is the password.")
@click.option("--prefix", default="/", show_default=True, help="What all keys of the fleet start with.")
@click.option("--ttl", type=int, default=10, show_default=True, help="TTL in seconds that the nodes register with.")
@click.option(
    "--strategy", type=click.Choice(STRATEGIES), default="hash", show_default=True, help="How to pick a node."
)
@click.option("--hash-by", default="user", show_default=True, help="user, path, header:N, cookie:N or query:N.")
@click.option(
    "--services-under", default="/api/", show_default=True, help="PATH/SERVICE/… goes to that service; '': none."
)
@click.option("--service-label", default="service", show_default=True, help="The label that names a node's service.")
@click.option("--select", metavar="K=V", multiple=True, help="Pick only nodes with this label; can be repeated.")
@click.option("--endpoint", default="", help="Go to the nodes' endpoint of this name, instead of their address.")
@click.option("--trust", metavar="CIDR", multiple=True, help="Believe X-Forwarded-* from there; can be repeated.")
@_limit("in_flight", "Requests and WebSockets at a time.")
@_limit("body", "Bytes of a request's body.")
@_limit("replay", "Bytes up to which a body is held, to be sent again.")
@_limit("attempts", "Nodes to ask for one request, at most.")
@_limit("connect", "Seconds to connect to a node.")
@_limit("answer", "Seconds that a node may be silent.")
@_limit("client", "Seconds that a client may be silent in a body, or take nothing.")
@_limit("idle", "Seconds that a client's connection may be idle.")
@_limit("gone", "Seconds that a node which left the topology gets to answer.")
@_limit("grace", "Seconds that requests get to end on SIGTERM.")
def router(**options: Any) -> None:
    """The front door of a fleet: pass HTTP requests and WebSockets on to nodes of the live topology.

    Settings can come from the environment too: ROUTER_STRATEGY for --strategy.
    """
    settings = Settings(
        strategy=options["strategy"],
        hash_by=options["hash_by"],
        services_under=_folder(options["services_under"]),
        service_label=options["service_label"],
        select=dict(_pair(text) for text in options["select"]),
        endpoint=options["endpoint"],
        trusted=tuple(map(_network, options["trust"])),
        limits=Limits(**{name: options[name] for name in _LIMITS}),
    )
    key_of(settings.hash_by)
    listener = _listener(options["listen"], _tls(options["cert"], options["key"]), shared=options["shared"])
    probes = None if options["probes"] == "off" else _listener(options["probes"])
    observer = Observer(_etcd(options), prefix=options["prefix"], ttl=options["ttl"])
    _set_up()
    try:
        asyncio.run(serve(observer, listener, settings, probes))
    except OSError as error:
        raise UsageError(f"can't listen on {options['listen']}: {(error.strerror or str(error)).lower()}") from error


def main() -> None:
    """Run the command; what a person can mend is one line on stderr, and the exit code of its kind."""
    try:
        router(prog_name="router")
    except ClusterdError as error:
        click.echo(f"router: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _set_up() -> None:
    """Log to stderr, and let the process hold as many connections as it may: each WebSocket takes two."""
    logs.set_up("text", "warning", "")
    logging.getLogger("examples.router").setLevel(logging.INFO)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listener(text: str, tls: ssl.SSLContext | None = None, *, shared: bool = False) -> Listener:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and int(port) < 65536):
        raise UsageError(f"can't listen on {text!r}: give it as host:port, for example 0.0.0.0:8080")
    return Listener(host.strip("[]"), int(port), tls, shared)


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if (cert is None) != (key is None):
        raise UsageError("HTTPS needs a certificate and its key: give --cert and --key")
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"certificate {cert} with key {key}: {error.strerror or error}") from error
    return context


def _etcd(options: dict[str, Any]) -> EtcdOptions:
    cacert, user, file = options["etcd_cacert"], options["etcd_user"], options["etcd_password_file"]
    try:
        password = file.read_text().partition("\n")[0] if file else None
    except OSError as error:
        raise UsageError(f"password file {file}: {(error.strerror or str(error)).lower()}") from error
    return EtcdOptions(
        endpoints=tuple(options["etcd"].split(",")),
        user=user,
        password=password,
        tls=TLS(cacert) if cacert else None,
    )


def _folder(path: str) -> str:
    if path and not path.startswith("/"):
        raise UsageError(f"--services-under {path!r} is no path: give one that begins with /")
    return path if not path or path.endswith("/") else path + "/"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--select {text!r} is not NAME=VALUE")
    return name, value


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise UsageError(f"--trust {text!r}: {error}") from error
