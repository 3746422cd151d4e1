"""The commands: `plan` shows roles and users, `apply` makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from clusterctl.auth.passwords import find_passwords
from clusterctl.auth.planning import KINDS, AuthPlan, make_plan
from clusterctl.auth.rendering import etcdctl, plan_commands, plan_document, roles_table, steps_table, users_table
from clusterctl.auth.steps import Action, Step, differences, excesses
from clusterctl.completion import complete_node_ids
from clusterctl.options import Subgroup, current_layers, current_screen, current_settings
from clusterctl.render import documents
from clusterctl.render.text import plural
from clusterctl.screen import Screen, person_to_ask, say
from clusterctl.settings import Settings
from clusterd.errors import Conflict
from clusterd.etcd.client import Client
from clusterd.etcd.errors import LoginRefused, PermissionDenied, Refused
from clusterd.etcd.messages import decode_reply
from clusterd.etcd.rbac import AuthState, read_auth
from clusterd.keys import Keyspace
from clusterd.rights import ROOT

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Manner:
    """How a plan is carried out."""

    enable: bool
    prune: bool
    rotate: bool
    dry_run: bool
    yes: bool
    passwords: Path | None


def _planned(command: _F) -> _F:
    """Add the options that say what is planned."""
    options = (
        click.argument("kinds", metavar="[ROLE]...", nargs=-1, type=click.Choice(KINDS)),
        click.option(
            "--node",
            "nodes",
            metavar="ID",
            multiple=True,
            shell_complete=complete_node_ids,
            help="A role for this node's own keys alone, and a user of its name; can be repeated.",
        ),
        click.option(
            "--grant", "grants", metavar="USER=ROLE", multiple=True, help="A user with that role; repeatable."
        ),
        click.option("--no-elections", is_flag=True, help="Agents that neither stand in elections nor take locks."),
        click.option(
            "--passwords",
            metavar="FOLDER",
            type=click.Path(path_type=Path),
            help="Passwords of new users: a file for each, of the user's name.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=Subgroup)
def auth() -> None:
    """Give agents, operators and dashboards users and roles in etcd that may do what they need, and no more."""


@auth.command("plan")
@_planned
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "etcdctl"]),
    default="table",
    show_default=True,
    help="Form; etcdctl: the commands that make it all.",
)
def plan_command(output: str, **flags: Any) -> None:
    """Show the roles that a fleet needs, without asking etcd: agent, operator, reader, or the ROLEs given.

    With --node each node can write its own keys only, and the shared role is member instead of agent.
    """
    plan, screen = _plan(Keyspace(current_layers().get("prefix") or "/"), flags), current_screen()
    if output == "etcdctl":
        screen.write("\n".join(plan_commands(plan, flags["passwords"])))
    elif output == "json":
        screen.write(documents.as_json(plan_document(plan)))
    else:
        _show(screen, plan)


@auth.command("apply")
@_planned
@click.option("--enable", is_flag=True, help="Turn auth on as the last step.")
@click.option("--prune", is_flag=True, help="Take away what goes beyond: rights of these roles, roles of these users.")
@click.option("--rotate", is_flag=True, help="Set the passwords of users that exist, too.")
@click.option("--dry-run", is_flag=True, help="Show the steps and stop.")
@click.option("-o", "--output", type=click.Choice(["table", "etcdctl"]), default="table", help="Form of the steps.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
def apply_command(output: str, **flags: Any) -> None:
    """Make the roles and users that `auth plan` shows, as far as they aren't there. Needs etcd's root while auth is on.

    Shows the steps first, and asks. Nothing that others made is taken away.

    Exit code 5 when refused or not confirmed; then nothing was changed, or what is said.
    """
    settings, screen = current_settings(), current_screen()
    plan, manner = _plan(settings.keyspace, flags), _manner(flags)
    state = asyncio.run(_read(settings, plan))
    steps = _steps(plan, state, manner)
    if not manner.prune and (left := excesses(plan.roles, plan.users, state, plan.ours)):
        say(f"{len(left)} beyond the plan kept; --prune --dry-run shows them, --prune takes them away")
    if not steps:
        say("nothing to do: etcd has all of it")
        return
    if output == "etcdctl":
        screen.write("\n".join(etcdctl(step, manner.passwords) for step in steps))
    else:
        screen.show(steps_table(steps))
    if not manner.dry_run:
        _carry_out(settings, plan, steps, manner)


def _plan(keyspace: Keyspace, flags: dict[str, Any]) -> AuthPlan:
    return make_plan(keyspace, flags["kinds"], flags["nodes"], flags["grants"], elections=not flags["no_elections"])


def _manner(flags: dict[str, Any]) -> Manner:
    return Manner(*(flags[name] for name in Manner.__slots__))


def _show(screen: Screen, plan: AuthPlan) -> None:
    screen.show(roles_table(plan))
    if plan.users:
        screen.write("")
        screen.show(users_table(plan))


async def _read(settings: Settings, plan: AuthPlan) -> AuthState:
    """Read what is there. Raises `PermissionDenied` saying who may."""
    async with Client(settings.etcd) as client:
        try:
            return await read_auth(client, [role.name for role in plan.roles], {*plan.users, ROOT})
        except PermissionDenied as error:
            raise PermissionDenied("only root may look at users and roles: give --user root") from error


def _steps(plan: AuthPlan, state: AuthState, manner: Manner) -> list[Step]:
    steps = differences(plan.roles, plan.users, state)
    if manner.prune:
        steps += excesses(plan.roles, plan.users, state, plan.ours)
    if manner.rotate:
        steps += [Step(Action.SET_PASSWORD, user=user) for user in plan.users if user in state.users]
    if manner.enable and not state.enabled:
        _check_root(plan, state)
        steps.append(Step(Action.ENABLE))
    return steps


def _check_root(plan: AuthPlan, state: AuthState) -> None:
    """etcd turns auth on only with a user root who has the role root: nobody else could turn it off again."""
    if ROOT not in plan.users.get(ROOT, frozenset()) | state.users.get(ROOT, frozenset()):
        raise Conflict("auth can't be turned on without a user root: add --grant root=root; nothing was changed")


def _carry_out(settings: Settings, plan: AuthPlan, steps: list[Step], manner: Manner) -> None:
    passwords = find_passwords([step.user for step in steps if step.needs_password], manner.passwords)
    if not manner.yes:
        _confirm(steps)
    asyncio.run(_perform(settings, plan, steps, passwords, manner))
    say(f"done: {plural(len(steps), 'step')}")


def _confirm(steps: list[Step]) -> None:
    if not person_to_ask():
        raise Conflict("not confirmed: give -y where nobody can be asked. Nothing was changed")
    question = f"Make {'this change' if len(steps) == 1 else f'these {len(steps)} changes'} in etcd?"
    if steps[-1].action is Action.ENABLE:
        question = f"From then on etcd refuses everybody without a user. {question}"
    if not click.confirm(question, err=True):
        raise Conflict("not confirmed: nothing was changed")


async def _perform(
    settings: Settings, plan: AuthPlan, steps: list[Step], passwords: dict[str, str], manner: Manner
) -> None:
    async with Client(settings.etcd) as client:
        for step in steps:
            try:
                path, request = step.call(passwords.get(step.user, ""))
                await client.call(path, request, decode_reply)
            except Refused as error:
                if isinstance(error, LoginRefused) or step in await _left(client, plan, manner):
                    raise
                # Made already: by an attempt whose answer was lost, or by somebody else meanwhile.


async def _left(client: Client, plan: AuthPlan, manner: Manner) -> list[Step]:
    return _steps(plan, await read_auth(client, [role.name for role in plan.roles], {*plan.users, ROOT}), manner)
