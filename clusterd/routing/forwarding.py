"""Forwarded requests: who sends one on says at which revision it was routed, and who gets it can judge.

A request is never sent on at an earlier revision than it came with, and one revision has one owner per key: so it
can't go round in circles, whatever the nodes on its way have or haven't seen yet.

Topologies with the same nodes can be of different revisions: one that was listed has the revision of the list, at which
no node need have changed, and no event will ever bring it to those who follow. What `agent.wait_for` returns knows how
far it holds (`synced_revision`), and that is what counts.
"""

from __future__ import annotations

import enum

import msgspec

from clusterd.errors import UsageError
from clusterd.node import Node
from clusterd.routing.hashing import Key
from clusterd.routing.router import Router


class RoutedAt(msgspec.Struct, frozen=True):
    """The topology that a request was routed by. As text, for a header: `<cluster id in hex>/<revision>`."""

    revision: int
    cluster_id: int = 0

    @classmethod
    def of(cls, topology: Router) -> RoutedAt:
        """Return what to send along with a request routed by this topology."""
        return cls(topology.revision, topology.cluster_id)

    @classmethod
    def parse(cls, text: str) -> RoutedAt:
        """Return what `str` gave as text. Raises `UsageError` for any other text."""
        cluster_id, _, revision = text.partition("/")
        try:
            return cls(int(revision), int(cluster_id, 16))
        except ValueError:
            raise UsageError(f"{text!r} isn't where a request was routed: <cluster id in hex>/<revision>") from None

    def __str__(self) -> str:
        return f"{self.cluster_id:x}/{self.revision}"


class Action(enum.StrEnum):
    """What the receiver of a forwarded request should do with it."""

    SERVE = "serve"
    """The key is its own."""

    FORWARD = "forward"
    """Another node owns the key now."""

    CATCH_UP = "catch-up"
    """Its topology is older than the one that the request was routed by.

    `topology = await agent.wait_for(routed_at.revision)`, and judge again by that.
    """

    REJECT = "reject"
    """No node may own slots."""


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a forwarded request, the key's owner as the receiver knows it, and what to send along to it."""

    action: Action
    owner: Node | None
    routed_at: RoutedAt


def judge(topology: Router, node_id: str, key: Key, routed_at: RoutedAt) -> Verdict:
    """Return what node `node_id`, with this topology, should do with a request for `key` that was forwarded to it.

    Revisions of two etcd clusters can't be compared (`cluster_id` changes when etcd is restored from a backup): then
    a node serves what it owns and waits with the rest, as one of the two has yet to see the change.
    Raises `InvalidKey`.
    """
    owner = topology.owner(key)
    same_cluster = topology.cluster_id == routed_at.cluster_id
    if same_cluster and topology.synced_revision < routed_at.revision:
        return Verdict(Action.CATCH_UP, owner, RoutedAt.of(topology))
    revision = max(topology.revision, routed_at.revision) if same_cluster else topology.revision
    return Verdict(_action(node_id, owner, same_cluster), owner, RoutedAt(revision, topology.cluster_id))


def _action(node_id: str, owner: Node | None, same_cluster: bool) -> Action:
    if owner is None:
        return Action.REJECT
    if owner.id == node_id:
        return Action.SERVE
    return Action.FORWARD if same_cluster else Action.CATCH_UP
