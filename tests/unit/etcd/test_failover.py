"""How a call gets to an answer: whose turn it is, how long each may take, who logs in."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

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
)
from tests.unit.etcd.places import DOWN, Cluster


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
