"""Settings of every command: where etcd is and who we are there, from flags and the environment.

A flag wins over `CLUSTERCTL_*`, that over etcdctl's own `ETCDCTL_*`, so that a shell set up for etcdctl works as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterctl.durations import parse_duration
from clusterd.errors import UsageError
from clusterd.etcd.options import DEFAULT_ENDPOINT, TLS, EtcdOptions
from clusterd.keys import Keyspace

PREFIX = "CLUSTERCTL_"
_ETCDCTL_PREFIX = "ETCDCTL_"
_ETCDCTL_NAMES = frozenset({"endpoints", "cacert", "cert", "key", "user", "password"})
_NAMES = _ETCDCTL_NAMES | {"password_file", "prefix", "timeout", "no_color", "debug"}
_DEFAULT_TIMEOUT = "5s"

AskPassword = Callable[[str], str]
"""Asks a person for the password of the user named."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach etcd, and under which keys the fleet is."""

    etcd: EtcdOptions
    keyspace: Keyspace


class Layers:
    """The settings given, in layers: what an upper layer says hides what the lower ones say."""

    def __init__(self, flags: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self.flags = {name: value for name, value in flags.items() if value is not None}
        self.own = _from_environment(environ, PREFIX, _NAMES)
        self.etcdctl = _from_environment(environ, _ETCDCTL_PREFIX, _ETCDCTL_NAMES)
        _refuse_unknown(environ)

    def get(self, name: str) -> str | None:
        """Return a setting from the uppermost layer that has it."""
        value = self._find(name)
        return None if value is None else str(value)

    def switch(self, name: str) -> bool:
        """Return a yes-or-no setting; raises `UsageError` for a value that is neither."""
        text = (self.get(name) or "false").lower()
        if text not in _SWITCH:
            raise UsageError(f"{PREFIX}{name.upper()} is {text!r}: give 1 or 0")
        return _SWITCH[text]

    def _find(self, name: str) -> Any:
        return next((layer[name] for layer in (self.flags, self.own, self.etcdctl) if name in layer), None)


_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def resolve(layers: Layers, ask: AskPassword | None = None) -> Settings:
    """Return the settings; `ask` is asked for a password that is missing, where there is a person to ask.

    Raises `UsageError` for what can't be used, naming it.
    """
    user, password = _credentials(layers, ask)
    return Settings(
        EtcdOptions(
            endpoints=_endpoints(layers.get("endpoints") or DEFAULT_ENDPOINT),
            user=user,
            password=password,
            tls=_tls(layers),
            timeout=parse_duration(layers.get("timeout") or _DEFAULT_TIMEOUT, "timeout"),
        ),
        Keyspace(layers.get("prefix") or "/"),
    )


def _from_environment(environ: Mapping[str, str], prefix: str, names: frozenset[str]) -> dict[str, str]:
    values = {name: environ.get(prefix + name.upper(), "") for name in names}
    return {name: value for name, value in values.items() if value}


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in _NAMES}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]} in the environment: known are {', '.join(sorted(known))}")


def _endpoints(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _tls(layers: Layers) -> TLS | None:
    cacert, cert, key = (Path(path) if (path := layers.get(name)) else None for name in ("cacert", "cert", "key"))
    return TLS(cacert, cert, key) if cacert or cert or key else None


def _credentials(layers: Layers, ask: AskPassword | None) -> tuple[str | None, str | None]:
    given = layers.get("user")
    if given is None:
        if "password_file" in layers.flags:
            raise UsageError("--password-file is given without a user: add --user NAME")
        return None, None
    user, colon, inline = given.partition(":")
    if not user:
        raise UsageError("the etcd user has no name: give it as NAME or NAME:PASSWORD")
    password = _password(layers, inline if colon else None)
    if password is None and ask is not None:
        password = ask(user)
    if password is None:
        raise UsageError(f"etcd user {user!r} has no password: give --password-file, or {PREFIX}PASSWORD")
    return user, password


def _password(layers: Layers, inline: str | None) -> str | None:
    """Return the password given closest to the user's name; None if there is none.

    `inline` is from the layer that named the user, so that one user never gets another's password.
    """
    if "password_file" in layers.flags:
        return read_password(layers.flags["password_file"])
    if inline is not None:
        return inline
    if "password" in layers.own:
        return layers.own["password"]
    if "password_file" in layers.own:
        return read_password(layers.own["password_file"])
    return layers.etcdctl.get("password")


def read_password(path: str) -> str:
    """Return the first line of a password file. Raises `UsageError` where it can't be read, or is empty."""
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"password file {path}: {getattr(error, 'strerror', None) or error}") from error
    if not lines or not lines[0]:
        raise UsageError(f"password file {path} is empty: its first line is the password")
    return lines[0]
