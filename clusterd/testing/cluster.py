"""An etcd of one or three members for tests, as real processes, with everything that can befall it."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from clusterd.aio import plain_errors
from clusterd.errors import ClusterdError, UsageError, WaitTimeout
from clusterd.etcd.embedded import EtcdNotFound
from clusterd.etcd.process import START_TIMEOUT, EtcdPortInUse, EtcdProcess, Member, free_ports
from clusterd.testing.admin import AdminError, EtcdAdmin
from clusterd.testing.binaries import EtcdBinary, etcd_binaries
from clusterd.testing.tools import run_tool

if TYPE_CHECKING:
    from clusterd.testing.certs import Certificates

FILLER = "/filler/"
"""What the keys start with that fill the quota."""

_FILLER_BYTES = 1 << 19
_RESOURCE_EXHAUSTED = 8  # gRPC's code
_PORT_TRIES = 5
_POLL_SECONDS = 0.05
_TOOL_ENVIRONMENT = {"ETCDCTL_API": "3"}  # and nothing else that changes what etcdctl does


class EtcdCluster:
    """An etcd of `size` members on loopback, each a process; an async context manager that starts and cleans up.

    `binary` is the version to run (the newest found by default), `flags` are further flags for each member,
    `quota_bytes` is the size at which etcd raises NOSPACE. With `tls` clients use https with those certificates; with
    `mutual_tls` they must show one. Whatever befalls it, it keeps its ports, so that clients find it again.

    `members` are the processes, to be stopped, killed or paused one by one. Entering raises `EtcdNotFound` or
    `EtcdStartError`.
    """

    def __init__(
        self,
        size: int = 1,
        *,
        binary: EtcdBinary | None = None,
        flags: Sequence[str] = (),
        quota_bytes: int = 0,
        tls: Certificates | None = None,
        mutual_tls: bool = False,
    ) -> None:
        if mutual_tls and tls is None:
            raise UsageError("mutual_tls needs certificates: give tls as well")
        self.binary = binary or newest_etcd()
        self.tls = tls
        self.members: tuple[EtcdProcess, ...] = ()
        self.admins: tuple[EtcdAdmin, ...] = ()
        self._size = size
        self._quota_bytes = quota_bytes
        self._flags = (
            *_speed_flags(self.binary, size),
            *_quota_flags(quota_bytes),
            *_tls_flags(tls, mutual=mutual_tls),
            *flags,
        )
        self._directory: Path | None = None
        self._generation = 0

    @property
    def endpoints(self) -> list[str]:
        """The URLs for clients, one for each member."""
        return [member.endpoint for member in self.members]

    @property
    def admin(self) -> EtcdAdmin:
        """A client of the first member, to act on the keys as somebody else. `admins` has one for each member."""
        return self.admins[0]

    @property
    def directory(self) -> Path:
        """The folder that holds everything of it. Raises `ClusterdError` outside the context."""
        if self._directory is None:
            raise ClusterdError("this etcd has not been started: use it as `async with`")
        return self._directory

    async def start(self) -> None:
        """Start the members that don't run, and wait until all are healthy. Raises `EtcdStartError`."""
        await _each(member.launch() for member in self.members if not member.running)
        await self.wait_healthy()

    async def wait_healthy(self, timeout: float = START_TIMEOUT) -> None:
        """Wait until every member is healthy. Raises `EtcdStartError` after `timeout` seconds."""
        await _each(member.wait_healthy(timeout) for member in self.members)

    async def stop(self) -> None:
        """Stop all members (SIGTERM, later SIGKILL)."""
        await _each(member.stop() for member in self.members)

    async def kill(self) -> None:
        """Kill all members (SIGKILL)."""
        await _each(member.kill() for member in self.members)

    async def restart(self) -> None:
        """Stop all members, then start them on their data. Raises `EtcdStartError`."""
        await self.stop()
        await self.start()

    def pause(self) -> None:
        """Pause all members (SIGSTOP). Raises `ChildError` if one doesn't run."""
        for member in self.members:
            member.pause()

    def resume(self) -> None:
        """Let paused members go on (SIGCONT). Raises `ChildError` if one doesn't run."""
        for member in self.members:
            member.resume()

    async def wipe(self, *, new_cluster_id: bool = False) -> None:
        """Lose all data: kill, start empty on the same ports; auth is off again.

        etcd makes the cluster id from the addresses and a token, so it stays the same unless a new one is asked for.
        """
        await self.kill()
        self._forget(new_cluster_id=new_cluster_id)
        self.login_as("", "")
        await self.start()

    async def snapshot(self) -> Path:
        """Save a snapshot of all keys; return the file, which goes away with this cluster."""
        self._generation += 1
        path = self.directory / f"snapshot-{self._generation}.db"
        arguments = [*self._etcdctl_flags(), "snapshot", "save", str(path)]
        await run_tool([self.binary.etcdctl, *arguments], env=_TOOL_ENVIRONMENT)
        return path

    async def restore(self, snapshot: Path, *, new_cluster_id: bool = False) -> None:
        """Go back to a snapshot, revision and all, on the same ports. The cluster id: see `wipe`.

        Raises `ToolFailed` if the snapshot can't be restored.
        """
        await self.kill()
        self._forget(new_cluster_id=new_cluster_id)
        for member in self.members:
            arguments = _restore_arguments(member, snapshot)
            await run_tool([self.binary.snapshot_tool, *arguments], env=_TOOL_ENVIRONMENT)
        await self.start()

    async def compact(self, revision: int = 0) -> int:
        """Forget the history before `revision` (0: the current one); return that revision."""
        return await self.admin.compact(revision)

    async def fill(self) -> None:
        """Fill the quota: put large keys below `FILLER` until etcd refuses every write with NOSPACE.

        Raises `UsageError` where no `quota_bytes` was given: etcd's own default is 2 GiB.
        """
        if not self._quota_bytes:
            raise UsageError("this etcd has no quota that a test could fill: give quota_bytes")
        for number in itertools.count():
            try:
                await self.admin.put(f"{FILLER}{number:06}", b"x" * _FILLER_BYTES)
            except AdminError as error:
                if error.code != _RESOURCE_EXHAUSTED:
                    raise
                return

    async def make_room(self) -> None:
        """Undo `fill`: delete, compact, defragment, and take the alarm back; etcd takes writes again."""
        await self.admin.delete(FILLER, prefix=True)
        await self.compact()
        await self.defragment()
        await self.admin.disarm()

    async def defragment(self) -> None:
        """Defragment the members that run, one after the other; each answers nothing while it does."""
        for member, admin in zip(self.members, self.admins, strict=True):
            if member.running:
                await admin.defragment()

    async def leader(self) -> int:
        """Return the index in `members` of the leader, in the newest term that a running member knows of.

        Raises `ClusterdError` if none is known.
        """
        leader = await self._leader()
        if leader is None:
            raise ClusterdError("no member that answers says that it is the leader")
        return leader

    async def wait_leader(self, *, other_than: int | None = None, timeout: float = START_TIMEOUT) -> int:
        """Wait until there is a leader, one `other_than` that member; return its index in `members`.

        A write just after a leader died is lost with it, and answered only after etcd's own time-out: this waits first.
        Raises `WaitTimeout` after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                while (leader := await self._leader()) is None or leader == other_than:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise WaitTimeout(f"no leader, other than member {other_than}, within {timeout:g} s") from None
        return leader

    async def enable_auth(self, user: str = "root", password: str = "root", *, token_ttl: int = 300) -> None:  # noqa: S107
        """Turn auth on, with `user` as an administrator; tokens lapse `token_ttl` seconds after their last use.

        etcd insists on a user called root: it gets the same password. The members restart where they don't have that
        `token_ttl` yet.
        """
        flags = (f"--auth-token-ttl={token_ttl}", "--bcrypt-cost=4")
        if any(flag not in member.member.flags for member in self.members for flag in flags):
            for member in self.members:
                member.member = member.member.with_flags(*flags)
            await self.restart()
        await self.admin.add_role("root")
        for name in dict.fromkeys(("root", user)):
            await self.admin.add_user(name, password, roles=("root",))
        await self.admin.call("auth/enable")
        self.login_as(user, password)

    def login_as(self, user: str, password: str) -> None:
        """Have the `admins` log in as this user; an empty one stops that."""
        for admin in self.admins:
            admin.login_as(user, password)

    async def close(self) -> None:
        """Kill the members, and remove all that they left behind."""
        try:
            await self.kill()
            await _each(admin.close() for admin in self.admins)
        finally:
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)

    async def __aenter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(prefix="clusterd-etcd-"))
        try:
            await self._start_on_free_ports()
        except BaseException:
            await self.close()
            raise
        context = self.tls.client_context() if self.tls else None
        self.admins = tuple(EtcdAdmin(url, ssl_context=context) for url in self.endpoints)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _make_members(self) -> list[Member]:
        """Return who the members are; a cluster in namespaces of its own overrides this."""
        ports = iter(free_ports(2 * self._size))
        return [
            Member.on_loopback(next(ports), next(ports), name=f"m{number}", tls=self.tls is not None)
            for number in range(1, self._size + 1)
        ]

    async def _start_on_free_ports(self) -> None:
        for left in reversed(range(_PORT_TRIES)):
            self.members = tuple(map(self._process, _introduce(self._make_members())))
            try:
                await self.start()
            except EtcdPortInUse:
                await self.kill()
                if not left:
                    raise
            else:
                return

    def _process(self, member: Member) -> EtcdProcess:
        context = self.tls.client_context() if self.tls else None
        return EtcdProcess(
            self.binary.etcd,
            member.with_flags(*self._flags),
            self.directory / member.name,
            ssl_context=context,
        )

    def _forget(self, *, new_cluster_id: bool) -> None:
        # A token names the raft index of its login: an etcd that went back would wait, silently, to get there again.
        self.login_as(*self.admin.credentials)
        self._generation += new_cluster_id
        for member in self.members:
            member.remove_data()
            if new_cluster_id:
                member.member = replace(member.member, token=f"clusterd-{self._generation}")

    def _etcdctl_flags(self) -> list[str]:
        flags = [f"--endpoints={self.endpoints[0]}"]
        if self.tls:
            flags += [
                f"--cacert={self.tls.ca}",
                f"--cert={self.tls.client_cert}",
                f"--key={self.tls.client_key}",
            ]
        user, password = self.admin.credentials
        return [*flags, f"--user={user}", f"--password={password}"] if user else flags

    async def _leader(self) -> int | None:
        claims = await asyncio.gather(*(self._claim(number) for number in range(self._size)))
        return max(filter(None, claims), default=(0, None))[1]

    async def _claim(self, number: int) -> tuple[int, int] | None:
        if not self.members[number].running:
            return None
        try:
            status = await self.admins[number].status()
        except (AdminError, aiohttp.ClientError, TimeoutError):
            return None
        leads = status.get("leader") == status["header"]["member_id"]
        return (int(status["raftTerm"]), number) if leads else None


class EtcdServer(EtcdCluster):
    """An etcd of a single member: what most tests need. Everything of `EtcdCluster`, and `endpoint`."""

    def __init__(
        self,
        *,
        binary: EtcdBinary | None = None,
        flags: Sequence[str] = (),
        quota_bytes: int = 0,
        tls: Certificates | None = None,
        mutual_tls: bool = False,
    ) -> None:
        super().__init__(1, binary=binary, flags=flags, quota_bytes=quota_bytes, tls=tls, mutual_tls=mutual_tls)

    @property
    def process(self) -> EtcdProcess:
        """The member's process."""
        return self.members[0]

    @property
    def endpoint(self) -> str:
        """The URL for clients."""
        return self.process.endpoint


def newest_etcd() -> EtcdBinary:
    """Return the highest of the versions that this machine has. Raises `EtcdNotFound` if it has none."""
    binaries = etcd_binaries()
    if not binaries:
        raise EtcdNotFound("no etcd with its etcdctl was found: pip install 'clusterd[testing]'")
    return binaries[-1]


def _introduce(members: list[Member]) -> list[Member]:
    peers = ",".join(f"{member.name}={member.peer_url}" for member in members)
    return [replace(member, peers=peers) for member in members]


def _speed_flags(binary: EtcdBinary, size: int) -> list[str]:
    # A single member waits for nobody: its first election can be fast. Three on a loaded machine need some slack.
    heartbeat = 20 if size == 1 else 50
    flags = [f"--heartbeat-interval={heartbeat}", f"--election-timeout={10 * heartbeat}"]
    # Data of a test need not survive a power cut; older versions can't leave the fsync out.
    return [*flags, "--unsafe-no-fsync"] if binary.version >= (3, 5, 0) else flags


def _quota_flags(quota_bytes: int) -> list[str]:
    return [f"--quota-backend-bytes={quota_bytes}"] if quota_bytes else []


def _tls_flags(tls: Certificates | None, *, mutual: bool) -> list[str]:
    if tls is None:
        return []
    flags = [f"--cert-file={tls.server_cert}", f"--key-file={tls.server_key}"]
    return [*flags, "--client-cert-auth", f"--trusted-ca-file={tls.ca}"] if mutual else flags


def _restore_arguments(process: EtcdProcess, snapshot: Path) -> list[str]:
    member = process.member
    return [
        "snapshot",
        "restore",
        f"--name={member.name}",
        f"--data-dir={process.data}",
        f"--initial-cluster={member.initial_cluster}",
        f"--initial-cluster-token={member.token}",
        f"--initial-advertise-peer-urls={member.peer_url}",
        str(snapshot),
    ]


async def _each(actions: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all at once; when one fails the others are cancelled, and that failure is raised."""
    async with plain_errors(), asyncio.TaskGroup() as group:
        for action in actions:
            group.create_task(action, name="etcd member")
