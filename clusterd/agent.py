"""The agent: what a gateway process embeds to be a node of the fleet."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from clusterd.aio import RunsOnce, plain_errors
from clusterd.drain import DrainController, Handler, Orders, Sessions, Site
from clusterd.drain.site import DEFAULT_STALL_AFTER
from clusterd.election import Election, ElectionDesk, Term, run_on_leader
from clusterd.election.contest import DEFAULT_SETTLE, OnLost
from clusterd.errors import AgentStopped
from clusterd.etcd.calls import CallObserver
from clusterd.etcd.client import Client
from clusterd.etcd.errors import Unavailable
from clusterd.etcd.lease import DEFAULT_TTL, check_ttl
from clusterd.etcd.options import DEFAULT_ENDPOINT, EtcdOptions, check_start_timeout
from clusterd.feed import Changes
from clusterd.figures import Figures
from clusterd.keys import Keyspace
from clusterd.mirror import Mirror
from clusterd.node import DEFAULT_WEIGHT, Node, NodeState, encode_node
from clusterd.registration import Registration
from clusterd.session import Session, SessionState
from clusterd.status import DrainProgress
from clusterd.topology import EMPTY, Topology
from clusterd.version import __version__

T = TypeVar("T")
R = TypeVar("R")


class Agent(RunsOnce):
    """One node of the fleet: registers itself, and holds the live topology.

    Use it as an async context manager. Entering returns once the node is registered and sees itself in the topology;
    leaving withdraws the registration, so that the fleet knows at once. In between nothing that happens to etcd ends
    it: it heals, and `session` and `topology.stale` tell how things are. Only when another instance takes the node id
    over the body is cancelled, and `NodeReplaced` raised.

    Arguments:
        node: The node id, unique in the fleet: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
        address: Where the gateway can be reached, `host:port`.
        etcd: A URL, several (a list, or joined by commas), or `EtcdOptions` for credentials and TLS.
        prefix: What all keys start with; a fleet is what shares it.
        ttl: Seconds after which the fleet counts out a node that went silent; 1 to 3600, etcd raises 1 to 2.
        weight: Share of the slots, relative to the others' weights; 0 owns none.
        zone: The failure domain, to which fallbacks are spread.
        labels: Free names and values to select nodes by.
        endpoints: URLs of what the gateway offers, by name, such as `{"ws": "wss://..."}`.
        state: What to register as: `STARTING` or `CORDONED` own no keys before `update` makes the node active.
        replace: Take the node id over from a live instance, instead of waiting for its lease to lapse.
        start_timeout: Seconds to wait for etcd on entering.
        stall_after: Seconds without any session moving after which a drain is called stalled, and says why.

    Raises on entering: `UsageError` for values that can't be used, `Unavailable` when etcd doesn't answer in time,
    `Refused` for what it refuses (login, permission), `NodeIdHeld` when a live instance has the id.
    """

    _once = "an agent runs once: make a new one, which is a new instance of the node"

    def __init__(
        self,
        node: str,
        address: str,
        *,
        etcd: str | Sequence[str] | EtcdOptions = DEFAULT_ENDPOINT,
        prefix: str = "/",
        ttl: int = DEFAULT_TTL,
        weight: int = DEFAULT_WEIGHT,
        zone: str = "",
        labels: Mapping[str, str] | None = None,
        endpoints: Mapping[str, str] | None = None,
        state: NodeState = NodeState.ACTIVE,
        replace: bool = False,
        start_timeout: float = 30.0,
        stall_after: float = DEFAULT_STALL_AFTER,
    ) -> None:
        self._options = EtcdOptions.of(etcd)
        self._keyspace = Keyspace(prefix)
        self._ttl = check_ttl(ttl)
        self._replace = replace
        self._start_timeout = check_start_timeout(start_timeout)
        self._first = Node(
            id=node,
            address=address,
            state=state,
            weight=weight,
            zone=zone,
            labels=dict(labels or {}),
            endpoints=dict(endpoints or {}),
            instance=uuid.uuid4().hex,
            started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            agent=f"clusterd/{__version__}",
        )
        encode_node(self._first)
        self.session = Session()
        self.sessions = Sessions()
        self._stall_after = stall_after
        self._handler: Handler | None = None
        self._observers: list[CallObserver] = []
        self._client: Client | None = None
        self._mirror: Mirror | None = None
        self._registration: Registration | None = None
        self._desk: ElectionDesk | None = None
        self._drains: DrainController | None = None

    @property
    def node(self) -> Node:
        """This node, as it wants to be registered."""
        return self._registration.node if self._registration else self._first

    @property
    def ready(self) -> bool:
        """Whether new sessions should come here: the node has registered, and is active; etcd may be away meanwhile."""
        return self.session.began and self.node.state is NodeState.ACTIVE

    @property
    def topology(self) -> Topology:
        """The newest topology. It is never waited for, and never empty for lack of etcd."""
        return self._mirror.topology if self._mirror else EMPTY

    def figures(self) -> Figures:
        """Return what the agent has counted, and how it stands: what `clusterd.metrics` is made of."""
        if not (self._client and self._mirror and self._desk):
            return Figures()
        tally = self._desk.tally
        return Figures(
            synced_revision=self._mirror.synced_revision,
            age=self._mirror.age,
            lag=self._mirror.lag,
            changes=dict(self._mirror.counts),
            endpoint_failures=dict(self._client.failover.pool.failures),
            leading={name: term.fence for name, term in tally.held.items()},
            terms=dict(tally.terms),
            drain=self.draining,
        )

    def on_etcd_call(self, observer: CallObserver) -> CallObserver:
        """Have `observer(call)` told of each call to etcd as it ends; usable as a decorator. It must not block."""
        self._observers.append(observer)
        return observer

    def changes(self) -> Changes:
        """Return an async iterator over the changes of the topology from this moment on; it ends with the agent."""
        return self._running(self._mirror).changes()

    async def wait_for(self, revision: int, timeout: float | None = None) -> Topology:
        """Wait until everything up to an etcd revision is in the topology, and return that.

        Raises `WaitTimeout` after `timeout` seconds, `AgentStopped` when the agent ends first.
        """
        return await self._running(self._mirror).wait_for(revision, timeout)

    async def update(
        self,
        *,
        state: NodeState | None = None,
        weight: int | None = None,
        zone: str | None = None,
        labels: Mapping[str, str] | None = None,
        endpoints: Mapping[str, str] | None = None,
    ) -> int:
        """Change this node's record, and return the etcd revision at which it was changed.

        A state that an operator's intent doesn't allow comes into force when that is withdrawn. Waits while etcd is
        away. Raises `UsageError` for values that can't be used; then nothing is changed.
        """
        given = {"state": state, "weight": weight, "zone": zone, "labels": labels, "endpoints": endpoints}
        changes = {name: value for name, value in given.items() if value is not None}
        if state is not None:
            changes["state"] = self._running(self._drains).choose(state)
        return await self._running(self._registration).update(**changes)

    async def report(self, *, sessions: int) -> None:
        """Say how many sessions there are, and publish it at once. Raises `EtcdError`, `UsageError` for no count.

        A gateway that counts them with `agent.sessions` has no need to: what that counts is published by itself.
        """
        self.sessions.set(sessions)
        await self._running(self._registration).settled()
        await self._running(self._drains).publish()

    def on_drain(self, handler: Handler) -> Handler:
        """Have `await handler(drain)` called when the sessions of this node are to move; usable as a decorator.

        It is called again while sessions are left, and cancelled when the drain is taken back or may not go on; one
        that ignores that is left to itself after 5 s, and named in the log. There is one handler: the last one given.
        """
        self._handler = handler
        return handler

    def off_drain(self, handler: Handler) -> None:
        """Have `handler` not called any more, if it is still the one; a call of it that runs is not ended by that."""
        if self._handler == handler:
            self._handler = None

    @property
    def draining(self) -> DrainProgress | None:
        """How the drain of this node goes, whoever asked for it; None while there is none."""
        return self._drains.progress() if self._drains else None

    async def drain(
        self,
        *,
        deadline: float = 30.0,
        rate: float | None = None,
        over: float | None = None,
        settle: float = 0.3,
        reason: str = "shutdown",
    ) -> DrainProgress:
        """Drain for the end of this process (SIGTERM), and return how that went; leave the agent after it.

        The node leaves the slots, sessions move (`rate` a second, or `over` so many seconds, or as fast as it goes),
        and after `deadline` seconds those left are asked to move at once, and get one more. It is not persisted, waits
        for no permit, and for etcd only a moment; the node is not active again. Raises `UsageError`.
        """
        drains = self._running(self._drains)
        return await drains.shut_down(deadline=deadline, rate=rate, over=over, settle=settle, reason=reason)

    def start_drain(
        self,
        *,
        deadline: float = 30.0,
        rate: float | None = None,
        over: float | None = None,
        settle: float = 0.3,
        reason: str = "shutdown",
    ) -> DrainProgress:
        """Begin what `drain` does, without waiting for it: `draining` tells how it goes, `undrain` takes it back.

        A further call gives it new terms, and `drain` waits for it. Raises `UsageError`.
        """
        drains = self._running(self._drains)
        return drains.begin_shutdown(deadline=deadline, rate=rate, over=over, settle=settle, reason=reason)

    def undrain(self) -> bool:
        """Take back what `start_drain` began, and return whether there was such a drain.

        The node is then what its gateway and the operators want it to be. Raises `Conflict` once `drain` was called.
        """
        return self._running(self._drains).cancel_shutdown()

    def election(
        self, name: str, *, value: str | bytes | None = None, ttl: int | None = None, settle: float = DEFAULT_SETTLE
    ) -> Election:
        """Return the election of that name: `async with agent.election("rebalancer").lead() as term`.

        What observers see is the node id, or `value`. The TTL is the agent's unless given; `settle` is explained at
        `Election`. A node that is not active resigns and stands back, until it is active again; waiting ends with
        `AgentStopped` when the agent does. Raises `InvalidOfficeName`.
        """
        return self._running(self._desk).election(name, value=value, ttl=ttl, settle=settle)

    async def singleton(self, name: str, run: Callable[[Term], Awaitable[R]], *, ttl: int | None = None) -> R:
        """Run `run(term)` on exactly one node of the fleet: on this one, whenever it leads the election `name`.

        All nodes call it with the same name. The run is cancelled when leadership isn't certain any more, and begins
        again elsewhere. It returns what the run returns; then, or when the run fails, another node has its turn.
        """
        return await run_on_leader(self.election(name, ttl=ttl), run)

    def lock(
        self, name: str, *, on_lost: OnLost = "cancel", ttl: int | None = None, settle: float = DEFAULT_SETTLE
    ) -> contextlib.AbstractAsyncContextManager[Term]:
        """Return the context in which the lock of that name is held: `async with agent.lock("billing") as term`.

        It is that of etcd's mutex: `etcdctl lock /locks/NAME` takes part. `term.fence` and the fenced writes are those
        of an election's term, and so is what happens when it is lost. Raises `InvalidOfficeName`.
        """
        return self._running(self._desk).lock(name, on_lost=on_lost, ttl=ttl, settle=settle)

    @contextlib.asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        """Run the parts, each in a task that this one owns, from before the body until after it."""
        async with Client(self._options, self._observers) as client, plain_errors(), asyncio.TaskGroup() as tasks:
            mirror, registration, drains = self._compose(client)
            running = [
                tasks.create_task(mirror.run(), name=f"clusterd mirror of {self.node.id}"),
                tasks.create_task(registration.run(), name=f"clusterd registration of {self.node.id}"),
                tasks.create_task(drains.run(), name=f"clusterd drains of {self.node.id}"),
            ]
            try:
                await self._started(client, mirror, registration)
                yield
            finally:
                await self._running(self._desk).close()
                for task in running:
                    task.cancel()
                await asyncio.wait(running)
                await drains.close()
                await registration.leave()

    def _compose(self, client: Client) -> tuple[Mirror, Registration, DrainController]:
        mirror = Mirror(client, self._keyspace, ttl=self._ttl)
        desk = ElectionDesk(client, self._keyspace, self._first, ttl=self._ttl)
        orders = Orders(client, self._keyspace, self._first.id, ttl=self._ttl)
        registration = Registration(
            client,
            self._keyspace,
            self._first,
            ttl=self._ttl,
            session=self.session,
            orders=orders,
            replace=self._replace,
            on_renewed=mirror.reached,
            on_update=desk.follow,
            on_doubt=mirror.doubt,
        )
        mirror.on_topology(registration.observe)
        drains = DrainController(self._site(client, orders, mirror, registration, desk))
        self._client, self._mirror, self._registration, self._desk = client, mirror, registration, desk
        self._drains = drains
        return mirror, registration, drains

    def _site(
        self, client: Client, orders: Orders, mirror: Mirror, registration: Registration, desk: ElectionDesk
    ) -> Site:
        def place(state: NodeState) -> None:
            if registration.node.state is not state:
                registration.amend(state=state)

        return Site(
            client=client,
            keyspace=self._keyspace,
            orders=orders,
            ttl=self._ttl,
            node=lambda: registration.node,
            place_state=place,
            placed_state=lambda: registration.placed.state if registration.placed else None,
            lease=lambda: registration.lease_id,
            certain=lambda: self.session.state is not SessionState.LOST,
            topology=lambda: mirror.topology,
            leading=lambda: desk.standing,
            stall_after=self._stall_after,
            sessions=self.sessions,
            handler=lambda: self._handler,
        )

    async def _started(self, client: Client, mirror: Mirror, registration: Registration) -> None:
        """Wait until the node is registered and sees itself; the time that it waits for a held id doesn't count."""
        patience = asyncio.timeout(self._start_timeout)
        registration.on_held = lambda seconds: patience.reschedule(
            asyncio.get_running_loop().time() + seconds + self._start_timeout
        )
        try:
            async with patience:
                await mirror.follow_to(await registration.settled())
        except TimeoutError as error:
            trouble = (
                registration.trouble
                or mirror.trouble
                or client.failover.trouble
                or "etcd answers, but the topology does not show the node"
            )
            raise Unavailable(f"not registered within {self._start_timeout:g} s: {trouble}") from error
        finally:
            registration.on_held = None

    def _running(self, part: T | None) -> T:
        if part is None:
            raise AgentStopped("the agent is not running: use it as `async with Agent(...) as agent`")
        return part
