"""Where the passwords of new users come from: files, or a person; never the command line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from clusterctl.screen import person_to_ask
from clusterctl.settings import read_password
from clusterd.errors import UsageError


def find_passwords(users: Iterable[str], folder: Path | None) -> dict[str, str]:
    """Return the password of each user: from the file of its name in `folder`, else asked for twice at a terminal.

    Raises `UsageError` where there is neither, or the file can't be used.
    """
    return {user: _find(user, folder) for user in users}


def _find(user: str, folder: Path | None) -> str:
    file = None if folder is None else folder / user
    if file is not None and (file.exists() or not person_to_ask()):
        return read_password(str(file))
    if not person_to_ask():
        raise UsageError(f"no password for the new user {user}: give --passwords FOLDER with a file {user} in it")
    password: str = click.prompt(
        f"Password for the etcd user {user}", hide_input=True, confirmation_prompt=True, err=True
    )
    return password
