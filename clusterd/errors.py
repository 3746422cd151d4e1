"""Errors that a person can act on: each message says what is wrong, where, and what to do about it.

Every error that clusterd raises on purpose derives from `ClusterdError`. `exit_code` is what the commands exit with
when the error reaches them: the table of exit codes in docs/operations.md is this file's.
"""

from __future__ import annotations


class ClusterdError(Exception):
    """The base of all errors that clusterd raises on purpose."""

    exit_code = 1


class UsageError(ClusterdError, ValueError):
    """A value given by the caller can't be used: a setting, a flag, an argument."""

    exit_code = 2


class InvalidNodeId(UsageError):
    """A node id outside `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`."""


class InvalidOfficeName(UsageError):
    """A name of an election or a lock outside `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`."""


class InvalidAddress(UsageError):
    """An address that isn't `host:port`."""


class RecordTooLarge(UsageError):
    """A record over the size that may be written under `nodes/`."""


class InvalidKey(UsageError, TypeError):
    """A key to be routed that is neither a str nor bytes, or a str that UTF-8 can't carry."""


class NothingMatched(ClusterdError):
    """A selector, an id or a name matched nothing that is there."""

    exit_code = 4


class Conflict(ClusterdError):
    """Refused, because something else holds what was asked for."""

    exit_code = 5


class NodeIdHeld(Conflict):
    """The node id is held by another live instance."""


class NodeReplaced(Conflict):
    """Another instance took this node's id over: this one must not act as the node any more."""


class IntentConflict(Conflict):
    """Another intent is in force for the node than the one that was known."""


class Deposed(Conflict):
    """This term is over: who acts in it must stop, and what it still writes through it is refused."""


class AgentStopped(ClusterdError):
    """The agent isn't running, so that what was waited for can't come."""


class WaitTimeout(ClusterdError, TimeoutError):
    """What was waited for didn't happen in the time given."""

    exit_code = 7
