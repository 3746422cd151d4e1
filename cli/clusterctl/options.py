"""The options that every command takes, before or after the command's name."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import click

from clusterctl.screen import Screen, person_to_ask
from clusterctl.settings import Layers, Settings, resolve
from clusterd.sidecar.logs import TextFormatter

_GIVEN = "clusterctl.options"
_log = logging.getLogger("clusterd")


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None and param.name is not None:
        ctx.meta.setdefault(_GIVEN, {})[param.name] = value


def _option(name: str, metavar: str, text: str) -> click.Option:
    return click.Option([name], metavar=metavar, help=text, expose_value=False, callback=_remember)


def _flag(name: str, text: str) -> click.Option:
    return click.Option([name], is_flag=True, default=None, help=text, expose_value=False, callback=_remember)


def _global_options() -> list[click.Parameter]:
    return [
        _option("--endpoints", "URL,URL", "etcd endpoints.  [default: http://127.0.0.1:2379]"),
        _option("--cacert", "FILE", "CA to trust for https endpoints; the system's without."),
        _option("--cert", "FILE", "Client certificate."),
        _option("--key", "FILE", "Client certificate's key."),
        _option(
            "--user",
            "NAME[:PASSWORD]",
            "etcd user. Others can read a password given here in the process list: better a file, or the prompt.",
        ),
        _option("--password-file", "FILE", "File whose first line is the user's password."),
        _option("--prefix", "PREFIX", "What all keys of the fleet start with.  [default: /]"),
        _option(
            "--timeout",
            "DURATION",
            "How long one call to etcd may take. (After `drain`, how long to wait for it.)  [default: 5s]",
        ),
        _flag("--no-color", "No colours at a terminal."),
        _flag("--debug", "Show log and tracebacks on stderr."),
    ]


class Command(click.Command):
    """A command that takes the global options too; its own help doesn't repeat them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {param.name for param in self.params}
        for option in _global_options():
            if option.name not in own and isinstance(option, click.Option):
                option.hidden = True
                self.params.append(option)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, once all options are known wherever they stand."""
        _set_up_logging()
        return super().invoke(ctx)


class Group(click.Group):
    """The group of all commands, with the global options in its help."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. A reader of our output who has seen enough ends it quietly."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered can't be written either, at exit: let it go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result


class Subgroup(Group):
    """A command with commands of its own; its help doesn't repeat the global options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for param in self.params:
            if isinstance(param, click.Option):
                param.hidden = True


def current_layers(ctx: click.Context | None = None) -> Layers:
    """Return the options given so far, and the environment."""
    ctx = ctx or click.get_current_context()
    return Layers(ctx.meta.get(_GIVEN, {}), os.environ)


def current_settings() -> Settings:
    """Return the settings of the running command; asks a person for a password that is missing."""
    return resolve(current_layers(), _ask_password if person_to_ask() else None)


def current_screen() -> Screen:
    """Return the streams of the running command."""
    return Screen(color=not current_layers().switch("no_color"))


def _set_up_logging() -> None:
    """Keep the library's log to itself: commands say what matters. With `--debug` it goes to stderr."""
    debug = current_layers().switch("debug")
    _log.setLevel(logging.DEBUG if debug else logging.NOTSET)
    if debug:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter())
        logging.basicConfig(level=logging.INFO, handlers=[handler])
    else:
        _log.addHandler(logging.NullHandler())


def debugging() -> bool:
    """Whether the command runs with `--debug`."""
    return _log.level == logging.DEBUG


def _ask_password(user: str) -> str:
    password: str = click.prompt(f"Password of etcd user {user}", hide_input=True, err=True)
    return password
