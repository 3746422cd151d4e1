"""Publishing the node's live figures, and what its drains came to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from clusterd.drain.intent import format_time
from clusterd.drain.site import Happening, Site
from clusterd.etcd import ops
from clusterd.etcd.errors import EtcdError, PermissionDenied
from clusterd.etcd.lease import call_seconds
from clusterd.etcd.ops import Op
from clusterd.history import is_told, new_name, write_entries
from clusterd.status import DrainProgress, NodeStatus, encode_status

log = logging.getLogger(__name__)

_EVERY = 1.0
_EVERY_IDLE = 30.0
_LEAVE_SECONDS = 0.5


class Publisher:
    """Keeps the node's status current: at most once a second while it drains, every 30 otherwise, and if it changed.

    Nothing waits for it: while etcd is away it falls behind, and catches up after. The history entries that
    `site.happened` holds are written beside it.
    """

    def __init__(self, site: Site, progress: Callable[[], DrainProgress | None]) -> None:
        self._site = site
        self._progress = progress
        self._published: tuple[NodeStatus, int] | None = None
        self._since_last = _EVERY_IDLE
        self._patience = call_seconds(site.ttl)

    async def run(self) -> None:
        """Publish what changes, for ever."""
        while True:
            await asyncio.sleep(_EVERY)
            self._since_last += _EVERY
            try:
                if self._due():
                    await self.publish()
                await self.record()
            except EtcdError as error:
                log.debug("status: not published: %s", error)

    async def publish(self) -> None:
        """Publish now. Raises `EtcdError`."""
        status, lease, operations = self._status(), self._site.lease(), self.as_operation()
        if status is None or not operations:
            return
        await self._site.client.txn([], operations, [], timeout=self._patience)
        self._published, self._since_last = (status, lease), 0.0

    def as_operation(self) -> list[Op]:
        """Return what publishes the node's figures as they are now; nothing without a lease for them."""
        status, lease = self._status(), self._site.lease()
        if status is None or not lease:
            return []
        key = self._site.keyspace.node_status(self._site.node().id)
        dated = msgspec.structs.replace(status, at=format_time(datetime.now(UTC)))
        return [ops.put(key, encode_status(dated), lease=lease)]

    async def record(self) -> None:
        """Write what happened into the history. Raises `EtcdError`: then it is tried again with the next."""
        happened = self._site.happened
        while happened:
            first = happened[0]
            first.name = first.name or new_name()
            if not await self._told_before(first):
                await write_entries(self._site.client, self._site.keyspace, {first.name: first.entry})
            if happened and happened[0] is first:  # it may have made room for newer ones meanwhile
                happened.popleft()

    async def _told_before(self, happening: Happening) -> bool:
        if happening.unless_since is None:
            return False
        try:
            return await is_told(self._site.client, self._site.keyspace, happening.entry, happening.unless_since)
        except PermissionDenied:
            return False

    async def close(self) -> None:
        """Write what happened last, if etcd answers within a moment."""
        with contextlib.suppress(EtcdError, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.record()

    def _due(self) -> bool:
        status = self._status()
        if status is None or self._published == (status, self._site.lease()):
            return False
        return status.drain is not None or self._since_last >= _EVERY_IDLE

    def _status(self) -> NodeStatus | None:
        """Return what there is to say; a node that neither counts nor drains says nothing."""
        progress, count = self._progress(), self._site.sessions.count
        if progress is None and count is None and self._published is None:
            return None
        left = progress.left if progress and count is None else count
        return NodeStatus(instance=self._site.node().instance, sessions=left, drain=progress)
