"""The keys that clusterd uses in etcd: the one place that knows their layout."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clusterd.errors import InvalidNodeId, InvalidOfficeName, UsageError
from clusterd.escape import is_plain

NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PREFIX = re.compile(r"/|/[!-~]{0,254}/")


def check_node_id(node_id: str) -> str:
    """Return `node_id`, or raise `InvalidNodeId` if a node may not be called that."""
    if not NODE_ID.fullmatch(node_id):
        raise InvalidNodeId(
            f"node id {node_id!r} is not usable: it must be 1 to 128 of the characters A-Z a-z 0-9 . _ - "
            "and start with a letter or a digit"
        )
    return node_id


def check_office_name(name: str) -> str:
    """Return `name`, or raise `InvalidOfficeName` if an election or a lock may not be called that.

    It can't hold a '/': the candidates of "a/b" would be taken for candidates of "a" as well.
    """
    if not NODE_ID.fullmatch(name):
        raise InvalidOfficeName(
            f"name {name!r} of an election or a lock is not usable: it must be 1 to 128 of the characters "
            "A-Z a-z 0-9 . _ - (no '/': names don't nest) and start with a letter or a digit"
        )
    return name


def range_end(prefix: bytes) -> bytes:
    """Return the `range_end` with which etcd selects every key that starts with `prefix` (not empty).

    It is the prefix with its last byte that can be raised raised by one, as in etcd's `clientv3.GetPrefixRangeEnd`.
    """
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\0"
    return stripped[:-1] + bytes([stripped[-1] + 1])


def _shown(char: str) -> str:
    """Escape a character that can't be shown, otherwise than a byte that isn't UTF-8 (`\\x85` is one)."""
    return char if is_plain(char) else f"\\U{ord(char):08x}"


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys below one prefix, `/` by default; several fleets can share an etcd under several prefixes."""

    prefix: str = "/"

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise UsageError(
                f"prefix {self.prefix!r} is not usable: it must start and end with '/', "
                "and hold only printable ASCII characters"
            )

    @property
    def nodes(self) -> bytes:
        """The prefix of all registrations."""
        return self._key("nodes/")

    @property
    def status(self) -> bytes:
        """The prefix of all live figures."""
        return self._key("status/")

    @property
    def intents(self) -> bytes:
        """The prefix of all intents: what operators want of nodes."""
        return self._key("intents/")

    @property
    def history(self) -> bytes:
        """The prefix of all that is remembered of who did what."""
        return self._key("history/")

    @property
    def permits(self) -> bytes:
        """The prefix of the permits to drain."""
        return self._key("permits/drain/")

    @property
    def elections(self) -> bytes:
        """The prefix of all elections."""
        return self._key("elections/")

    @property
    def locks(self) -> bytes:
        """The prefix of all locks."""
        return self._key("locks/")

    @property
    def probes(self) -> bytes:
        """The prefix of what `clusterctl doctor` writes."""
        return self._key("doctor/")

    def election(self, name: str) -> bytes:
        """The key of one election; its candidates' keys are below, each that and "/" and a lease id in hex."""
        return self.elections + check_office_name(name).encode()

    def lock(self, name: str) -> bytes:
        """The key of one lock; the keys of who holds it and who waits are below, as with an election."""
        return self.locks + check_office_name(name).encode()

    def node(self, node_id: str) -> bytes:
        """The key of one node's registration."""
        return self.nodes + check_node_id(node_id).encode()

    def node_status(self, node_id: str) -> bytes:
        """The key of one node's live figures."""
        return self.status + check_node_id(node_id).encode()

    def intent(self, node_id: str) -> bytes:
        """The key of what operators want of one node."""
        return self.intents + check_node_id(node_id).encode()

    def history_entry(self, name: str) -> bytes:
        """The key of one entry of the history; names rise with time."""
        return self.history + name.encode()

    def permit(self, lease: int) -> bytes:
        """The key of the permit of the node whose registration has this lease."""
        return self.permits + f"{lease:x}".encode()

    def node_id(self, key: bytes, prefix: bytes | None = None) -> str:
        """Return the node id that a key under `nodes/` (or `prefix`) names, as text that can always be shown.

        Other writers may have put keys there that are no node id of ours, not even UTF-8: what can't be shown comes
        back escaped, visible and harmless, and so does a backslash: two keys never have one id.
        """
        text = (
            key[len(self.nodes if prefix is None else prefix) :]
            .replace(b"\\", b"\\\\")
            .decode("utf-8", "backslashreplace")
        )
        return text if is_plain(text) else "".join(map(_shown, text))

    def probe(self, name: str) -> bytes:
        """The key that `clusterctl doctor` writes and deletes again, to see that writing works."""
        return self.probes + name.encode()

    def _key(self, rest: str) -> bytes:
        return (self.prefix + rest).encode()
