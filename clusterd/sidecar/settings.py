"""The daemon's settings: flag over environment over file over default, each under one name.

A setting `start_timeout` is the flag `--start-timeout`, the variable `CLUSTERD_START_TIMEOUT` and the key
`start_timeout` of the TOML file. A name that is none of them is an error: a typo must not pass as a default.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from clusterd.errors import UsageError
from clusterd.etcd.lease import DEFAULT_TTL
from clusterd.etcd.options import DEFAULT_ENDPOINT, TLS, EtcdOptions
from clusterd.node import DEFAULT_WEIGHT

ENV_PREFIX = "CLUSTERD_"
# What Kubernetes puts into every container of a namespace with a service clusterd or clusterd-probes: no settings.
_SERVICE_LINK = re.compile(
    r"CLUSTERD_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of `clusterd run`, checked for their types; the agent checks their values."""

    node: str
    address: str
    etcd: tuple[str, ...] = (DEFAULT_ENDPOINT,)
    prefix: str = "/"
    ttl: int = DEFAULT_TTL
    weight: int = DEFAULT_WEIGHT
    zone: str = ""
    label: dict[str, str] = {}
    endpoint: dict[str, str] = {}
    starting_until: str | None = None
    replace: bool = False
    user: str | None = None
    password: str | None = None
    password_file: Path | None = None
    cacert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    control: str = "127.0.0.1:8470"
    probes: str = "0.0.0.0:8471"
    token_file: Path | None = None
    control_cert: Path | None = None
    control_key: Path | None = None
    drain_hook: str | None = None
    sessions_hook: str | None = None
    marker: Path | None = None
    start_timeout: float = 30.0
    drain_timeout: float = 30.0
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def __repr__(self) -> str:
        return f"<Settings of node {self.node!r}>"

    def etcd_options(self) -> EtcdOptions:
        """Return how to reach etcd. Raises `UsageError` where the settings don't fit together."""
        tls = None
        if self.cacert or self.cert or self.key:
            tls = TLS(cacert=self.cacert, cert=self.cert, key=self.key)
        return EtcdOptions(endpoints=self.etcd, user=self.user, password=self._password(), tls=tls)

    def _password(self) -> str | None:
        if self.password_file is None:
            return self.password
        try:
            return self.password_file.read_text().rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise UsageError(f"password file {self.password_file}: {_why(error)}") from error


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None) -> Settings:
    """Merge the sources; raises `UsageError` naming the setting, where it was set, and what is wrong."""
    values: dict[str, Any] = {}
    for origin, source in (
        (lambda name: f"{file}: {name}", _from_file(file) if file else {}),
        (lambda name: f"environment {ENV_PREFIX}{name.upper()}", _from_environ(environ)),
        (_flag, flags),
    ):
        given = {name: _convert(name, value, origin) for name, value in source.items()}
        if not _PASSWORDS.isdisjoint(given):  # two ways to say one thing: what goes before says it
            values = {name: value for name, value in values.items() if name not in _PASSWORDS}
        values |= given
    _check_required(values)
    return Settings(**values)


def _from_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text()
    except (OSError, ValueError) as error:
        raise UsageError(f"configuration file {file}: {_why(error)}") from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"configuration file {file} is not TOML: {error}") from error


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """An empty variable is as good as none: that is how a chart or a unit file leaves a setting out."""
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environ.items()
        if value and name.startswith(ENV_PREFIX) and name != f"{ENV_PREFIX}CONFIG" and not _SERVICE_LINK.fullmatch(name)
    }


_FIELDS = {field.name: field for field in msgspec.structs.fields(Settings)}
_PASSWORDS = frozenset({"password", "password_file"})
_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}


def _convert(name: str, value: Any, origin: Callable[[str], str]) -> Any:
    """Return the value in the setting's type; text is split where the setting has several values."""
    field = _FIELDS.get(name)
    if field is None:
        raise UsageError(f"{origin(name)}: there is no such setting; see `clusterd run --help`")
    if field.type == tuple[str, ...] and isinstance(value, str):
        value = _split(value)
    elif field.type == dict[str, str] and not isinstance(value, Mapping):
        value = _pairs(_split(value) if isinstance(value, str) else value, origin(name))
    try:
        return msgspec.convert(value, field.type, strict=False, dec_hook=lambda kind, raw: kind(raw))
    except (msgspec.ValidationError, TypeError, UnicodeError) as error:
        choices = get_args(field.type) if get_origin(field.type) is Literal else ()
        expected = " or ".join(choices) or _KINDS.get(field.type) or re.sub("^[Ee]xpected ", "", str(error))
        shown = "the value" if name == "password" else repr(value)
        raise UsageError(f"{origin(name)}: {shown} can't be used: expected {expected}") from error


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _pairs(items: Any, where: str) -> dict[str, str]:
    if not isinstance(items, list | tuple):
        raise UsageError(f"{where}: {items!r} is not NAME=VALUE, nor a list or a table of such")
    pairs = {}
    for item in items:
        name, equals, value = str(item).partition("=")
        if not (equals and name):
            raise UsageError(f"{where}: {item!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs


def _check_required(values: Mapping[str, Any]) -> None:
    for name in ("node", "address"):
        if name not in values:
            raise UsageError(
                f"no {name} is given: use {_flag(name)}, {ENV_PREFIX}{name.upper()} or the file's `{name}`"
            )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
