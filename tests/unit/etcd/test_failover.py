"""How a call gets to an answer: whose turn it is, how long each may take, whose cluster it is.

The places here stand for endpoints, not for the wire: what etcd says is tested with real ones.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from clusterd.etcd.auth import TokenSource
from clusterd.etcd.endpoints import EndpointPool
from clusterd.etcd.errors import (
    AuthChanged,
    AuthExpired,
    EtcdError,
    LeaseGone,
    LoginRefused,
    NoLogin,
    Refused,
    TlsFailed,
    Unavailable,
    WrongCluster,
)
from clusterd.etcd.failover import Failover


class Place:
    """An endpoint of a cluster, which takes what it is told to take for an answer."""

    def __init__(self, endpoint: str, cluster_id: int = 3) -> None:
        self.endpoint = endpoint
        self.cluster_id = cluster_id
        self.known = False
        self.slow = False
        self.introduction = asyncio.Lock()
        self.introductions = 0
        self.error: EtcdError | None = None

    async def detect_version(self) -> str:
        self.introductions += 1
        if self.error is not None:
            raise self.error
        return "3.5.0"

    async def unary(self, rpc: str, *_: object) -> bytes:
        assert rpc == "/maintenance/status"
        return f'{{"header":{{"cluster_id":"{self.cluster_id}"}}}}'.encode()


class Cluster:
    """Places a, b, c in this order, and a failover over them."""

    def __init__(self, count: int = 3, login: Callable[[], Awaitable[str]] | None = None) -> None:
        names = [f"http://{name}:2379" for name in "abc"[:count]]
        pool = EndpointPool(names, random.Random(0))
        for name in names:
            pool.failed(name)
        self.places = [Place(name) for name in names]
        self.failover = Failover(pool, TokenSource(login))
        self.failover.transports = {place.endpoint: place for place in self.places}  # type: ignore[misc]
        self.asked: list[tuple[str, str | None]] = []

    @property
    def turns(self) -> str:
        """Who was asked, in order: `abc`."""
        return "".join(endpoint[7] for endpoint, _ in self.asked)

    async def attempt(self, place: Any, token: str | None) -> str:
        self.asked.append((place.endpoint, token))
        if place.error is not None:
            raise place.error
        return str(place.endpoint)

    async def run(self, seconds: float = 1.0, **options: Any) -> str:
        return await self.failover.run(self.attempt, seconds, **options)

    def fail(self, error: EtcdError, names: str = "abc") -> None:
        for place in self.places:
            if place.endpoint[7] in names:
                place.error = error


DOWN = Unavailable("down")


async def test_calls_stay_at_the_first_endpoint_while_it_answers() -> None:
    cluster = Cluster()
    await cluster.run()
    await cluster.run()
    assert cluster.turns == "aa"


async def test_the_next_endpoint_takes_over_and_keeps_the_calls() -> None:
    cluster = Cluster()
    await cluster.run()
    cluster.fail(DOWN, "a")
    assert await cluster.run() == "http://b:2379"
    cluster.places[0].error = None
    assert await cluster.run() == "http://b:2379"
    assert cluster.turns == "aabb"


async def test_all_are_tried_in_turn_again_and_again_until_the_deadline() -> None:
    cluster = Cluster()
    await cluster.run()
    cluster.asked.clear()
    for place in cluster.places:
        place.known = True
    cluster.fail(DOWN)
    start = time.monotonic()
    with pytest.raises(Unavailable, match="down"):
        await cluster.run(0.5)
    assert time.monotonic() - start < 1.0
    assert cluster.turns == "abc", "after a failure an endpoint is introduced anew before it is asked"
    assert all(place.introductions > 1 for place in cluster.places)


async def test_a_call_that_fails_at_first_succeeds_when_an_endpoint_comes_back() -> None:
    cluster = Cluster()
    cluster.fail(DOWN)
    asyncio.get_running_loop().call_later(0.1, lambda: setattr(cluster.places[1], "error", None))
    assert await cluster.run(5.0) == "http://b:2379"


async def test_an_endpoint_that_is_silent_takes_only_its_share_of_the_time() -> None:
    cluster = Cluster()

    async def attempt(place: Any, _: str | None) -> str:
        if place.endpoint == "http://a:2379":
            await asyncio.sleep(60)
        return str(place.endpoint)

    start = time.monotonic()
    assert await cluster.failover.run(attempt, 1.2) == "http://b:2379"
    assert 0.25 < time.monotonic() - start < 1.1


async def test_a_single_silent_endpoint_gets_a_second_try_within_the_deadline() -> None:
    cluster, tries = Cluster(1), 0

    async def attempt(place: Any, _: str | None) -> str:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.sleep(60)
        return str(place.endpoint)

    assert await cluster.failover.run(attempt, 1.0) == "http://a:2379"


async def test_silence_everywhere_ends_at_the_deadline_and_says_who_was_silent() -> None:
    cluster = Cluster(2)

    async def attempt(_: Any, __: str | None) -> str:
        await asyncio.sleep(60)
        return "never"

    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"http://[ab]:2379: no answer within"):
        await cluster.failover.run(attempt, 0.6)
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize("error", [Refused("no"), LeaseGone("gone")])
async def test_what_etcd_refuses_is_not_asked_elsewhere(error: EtcdError) -> None:
    cluster = Cluster()
    await cluster.run()
    cluster.fail(error)
    with pytest.raises(type(error)):
        await cluster.run()
    assert cluster.turns == "aa"
    assert cluster.failover.pool.candidates()[0] == "http://a:2379"


async def test_a_bad_certificate_everywhere_is_told_after_one_round() -> None:
    cluster = Cluster()
    cluster.fail(TlsFailed("expired"))
    start = time.monotonic()
    with pytest.raises(TlsFailed):
        await cluster.run(10.0)
    assert time.monotonic() - start < 5.0
    assert [place.introductions for place in cluster.places] == [1, 1, 1]


@pytest.mark.parametrize("bad", "abc")
async def test_a_bad_certificate_at_one_endpoint_does_not_end_the_wait_for_the_others(bad: str) -> None:
    cluster = Cluster()
    cluster.fail(DOWN)
    cluster.fail(TlsFailed("expired"), bad)
    well = next(place for place in cluster.places if place.endpoint[7] != bad)
    asyncio.get_running_loop().call_later(0.1, lambda: setattr(well, "error", None))
    assert await cluster.run(5.0) == well.endpoint


async def test_a_named_endpoint_is_asked_alone() -> None:
    cluster = Cluster()
    assert await cluster.run(endpoint="http://c:2379") == "http://c:2379"
    cluster.fail(DOWN, "c")
    with pytest.raises(Unavailable):
        await cluster.run(0.2, endpoint="http://c:2379")
    assert set(cluster.turns) == {"c"}


async def test_why_the_last_attempt_failed_is_known_until_one_succeeds() -> None:
    cluster = Cluster()
    cluster.fail(DOWN)
    with pytest.raises(Unavailable):
        await cluster.run(0.1)
    assert cluster.failover.trouble is DOWN
    for place in cluster.places:
        place.error = None
    await cluster.run()
    assert cluster.failover.trouble is None


# --- Logins ---


async def test_an_expired_token_is_replaced_and_the_call_repeated() -> None:
    fresh = iter(["old", "new"])

    async def login() -> str:
        return next(fresh)

    cluster = Cluster(login=login)

    async def attempt(_: Any, token: str | None) -> str | None:
        if token == "old":
            raise AuthExpired("invalid auth token")
        return token

    assert await cluster.failover.run(attempt, 1.0) == "new"


async def test_a_hundred_calls_that_find_the_token_expired_log_in_once() -> None:
    async def login() -> str:
        await asyncio.sleep(0.01)
        return f"token-{cluster.failover.tokens.logins}"

    cluster = Cluster(login=login)

    async def attempt(_: Any, token: str | None) -> str | None:
        await asyncio.sleep(0.001)
        if token == "token-1":
            raise AuthExpired("invalid auth token")
        return token

    answers = await asyncio.gather(*(cluster.failover.run(attempt, 5.0) for _ in range(100)))
    assert set(answers) == {"token-2"}
    assert cluster.failover.tokens.logins == 2


async def test_a_fresh_token_that_does_not_help_is_told_not_tried_for_ever() -> None:
    async def login() -> str:
        return "token"

    cluster = Cluster(login=login)
    await cluster.run()
    cluster.fail(AuthExpired("invalid auth token"))
    with pytest.raises(AuthExpired):
        await cluster.run()
    assert cluster.turns == "aaa"


async def test_roles_that_change_again_and_again_are_waited_out() -> None:
    async def login() -> str:
        return f"token-{cluster.failover.tokens.logins}"

    cluster = Cluster(login=login)

    async def attempt(_: Any, token: str | None) -> str | None:
        if cluster.failover.tokens.logins < 4:
            raise AuthChanged("auth: revision in header is old")
        return token

    assert await cluster.failover.run(attempt, 10.0) == "token-4"
    assert cluster.failover.pool.candidates()[0] == "http://a:2379"


async def test_a_slow_login_is_not_the_endpoints_fault_and_serves_the_next_call() -> None:
    answer = asyncio.Event()

    async def login() -> str:
        await answer.wait()
        return "token"

    cluster = Cluster(login=login)
    with pytest.raises(NoLogin, match=r"no answer to the login within 0\.3 s"):
        await cluster.run(0.3)
    assert cluster.asked == []
    assert cluster.failover.pool.candidates()[0] == "http://a:2379"
    answer.set()
    assert await cluster.run() == "http://a:2379"
    assert cluster.failover.tokens.logins == 1


async def test_a_login_that_finds_nobody_says_who_was_asked() -> None:
    async def login() -> str:
        raise Unavailable("http://b:2379: connection refused")

    with pytest.raises(NoLogin, match=r"^http://b:2379: connection refused$"):
        await Cluster(login=login).run(0.3)


async def test_a_login_over_tls_that_fails_is_not_tried_again() -> None:
    async def login() -> str:
        raise TlsFailed("certificate expired")

    cluster = Cluster(login=login)
    with pytest.raises(TlsFailed):
        await cluster.run(5.0)
    assert cluster.failover.tokens.logins <= 3


async def test_an_etcd_that_wants_a_login_refuses_who_has_no_credentials() -> None:
    cluster = Cluster()
    await cluster.run()
    cluster.fail(AuthExpired("user name is empty"))
    with pytest.raises(LoginRefused, match="user name is empty"):
        await cluster.run()


async def test_the_login_itself_goes_without_a_token() -> None:
    cluster = Cluster(login=None)
    await cluster.run(login=False)
    assert cluster.asked == [("http://a:2379", None)]


# --- Which cluster ---


async def test_an_endpoint_is_introduced_once_and_again_after_a_failure() -> None:
    cluster = Cluster(1)
    await cluster.run()
    await cluster.run()
    assert cluster.places[0].introductions == 1
    cluster.failover.failed("http://a:2379")
    await cluster.run()
    assert cluster.places[0].introductions == 2
    assert cluster.failover.cluster_id == 3


def of_clusters(*cluster_ids: int) -> Cluster:
    cluster = Cluster(len(cluster_ids))
    for place, cluster_id in zip(cluster.places, cluster_ids, strict=True):
        place.cluster_id = cluster_id
    return cluster


async def renew(cluster: Cluster, cluster_ids: Sequence[int]) -> None:
    """Set all endpoints up anew: their connections break, and these clusters answer."""
    for place, cluster_id in zip(cluster.places, cluster_ids, strict=True):
        place.cluster_id = cluster_id
        cluster.failover.failed(place.endpoint)


async def test_an_endpoint_of_another_cluster_is_passed_over() -> None:
    cluster = of_clusters(3, 4, 3)
    await cluster.run()
    cluster.fail(DOWN, "a")
    assert await cluster.run() == "http://c:2379"
    assert "b" not in cluster.turns


async def test_one_of_three_endpoints_does_not_make_another_cluster() -> None:
    cluster = of_clusters(3, 4, 3)
    await cluster.run()
    cluster.fail(DOWN, "ac")
    with pytest.raises(Unavailable):
        await cluster.run(0.3)
    assert cluster.failover.cluster_id == 3


@pytest.mark.parametrize(("before", "after"), [([3], [4]), ([3, 3, 3], [4, 4, 4]), ([3, 3, 3], [4, 4, 5])])
async def test_a_cluster_that_was_set_up_anew_is_taken_over(before: list[int], after: list[int]) -> None:
    cluster = of_clusters(*before)
    await cluster.run()
    await renew(cluster, after)
    assert await cluster.run(3.0) == "http://a:2379"
    assert cluster.failover.cluster_id == 4


async def test_two_endpoints_that_disagree_are_no_cluster_set_up_anew() -> None:
    cluster = of_clusters(3, 3)
    await cluster.run()
    await renew(cluster, [4, 5])
    with pytest.raises(WrongCluster, match="give endpoints of one cluster only"):
        await cluster.run(0.3)
    assert cluster.failover.cluster_id == 3


async def test_nothing_is_written_to_an_endpoint_before_its_cluster_is_known() -> None:
    cluster = of_clusters(3, 4)
    await cluster.run()
    cluster.fail(DOWN, "a")
    with pytest.raises(Unavailable):
        await cluster.run(0.3)
    assert "b" not in cluster.turns


async def test_an_endpoint_that_is_slow_twice_in_a_row_is_introduced_again() -> None:
    cluster = Cluster(1)
    (place,) = cluster.places
    await cluster.failover.run(cluster.attempt, 1.0)
    cluster.failover.failed(place.endpoint, slow=True)
    await cluster.failover.run(cluster.attempt, 1.0)
    assert place.introductions == 1
    cluster.failover.failed(place.endpoint, slow=True)
    cluster.failover.failed(place.endpoint, slow=True)
    await cluster.failover.run(cluster.attempt, 1.0)
    assert place.introductions == 2
