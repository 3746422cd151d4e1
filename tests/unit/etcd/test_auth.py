"""One login for all calls: a wrong password or an expired token must not become a load on etcd."""

from __future__ import annotations

import asyncio

import pytest

from clusterd.etcd.auth import TokenSource
from clusterd.etcd.errors import AuthNotEnabled, EtcdError, LoginRefused, Unavailable
from clusterd.testing import eventually


class Logins:
    """Logins that take a moment, or until `answer` is set if they hang, and end as told: a token, or an error."""

    def __init__(self, *ends: EtcdError | None, hang: bool = False) -> None:
        self.count = 0
        self.answer = asyncio.Event()
        self._hang = hang
        self._ends = list(ends)

    async def __call__(self) -> str:
        self.count += 1
        number = self.count
        await (self.answer.wait() if self._hang else asyncio.sleep(0.01))
        end = self._ends.pop(0) if self._ends else None
        if end is not None:
            raise end
        return f"token-{number}"


async def test_without_credentials_nobody_logs_in() -> None:
    tokens = TokenSource(None)
    assert not tokens.enabled
    assert await tokens.get() is None
    await tokens.renew(None)
    assert await tokens.get() is None


async def test_the_first_call_logs_in_and_all_others_use_its_token() -> None:
    logins = Logins()
    tokens = TokenSource(logins)
    assert tokens.enabled
    assert await tokens.get() == await tokens.get() == "token-1"
    assert logins.count == 1


async def test_calls_that_start_together_cause_one_login() -> None:
    logins = Logins()
    tokens = TokenSource(logins)
    assert set(await asyncio.gather(*(tokens.get() for _ in range(100)))) == {"token-1"}
    assert logins.count == tokens.logins == 1


async def test_calls_that_find_the_token_expired_together_cause_one_login() -> None:
    logins = Logins()
    tokens = TokenSource(logins)
    expired = await tokens.get()
    await asyncio.gather(*(tokens.renew(expired) for _ in range(100)))
    assert tokens.token == "token-2"
    assert logins.count == 2


async def test_who_comes_late_with_an_old_token_gets_the_new_one() -> None:
    logins = Logins()
    tokens = TokenSource(logins)
    expired = await tokens.get()
    await tokens.renew(expired)
    await tokens.renew(expired)
    assert await tokens.get() == "token-2"
    assert logins.count == 2


async def test_a_wrong_password_is_told_to_all_and_tried_once() -> None:
    logins = Logins(LoginRefused("wrong password"))
    tokens = TokenSource(logins)
    results = await asyncio.gather(*(tokens.get() for _ in range(100)), return_exceptions=True)
    assert all(isinstance(result, LoginRefused) and "wrong password" in str(result) for result in results)
    assert logins.count == 1


async def test_a_refusal_is_forgotten_after_a_while() -> None:
    logins = Logins(LoginRefused("wrong password"))
    tokens = TokenSource(logins, refusal_seconds=0.3)
    with pytest.raises(LoginRefused):
        await tokens.get()
    with pytest.raises(LoginRefused):
        await tokens.get()
    await asyncio.sleep(0.35)
    assert await tokens.get() == "token-2"
    assert logins.count == 2


async def test_a_login_that_found_no_etcd_is_tried_again_by_the_next_call() -> None:
    logins = Logins(Unavailable("nobody there"))
    tokens = TokenSource(logins)
    with pytest.raises(Unavailable):
        await tokens.get()
    assert await tokens.get() == "token-2"


async def test_an_etcd_that_asks_for_no_login_is_used_without_one() -> None:
    logins = Logins(AuthNotEnabled("authentication is not enabled"))
    tokens = TokenSource(logins)
    assert await tokens.get() == await tokens.get() == ""
    assert logins.count == 1


async def test_an_etcd_where_login_was_enabled_since_gets_one() -> None:
    logins = Logins(AuthNotEnabled("authentication is not enabled"))
    tokens = TokenSource(logins)
    await tokens.renew(await tokens.get())
    assert await tokens.get() == "token-2"


async def test_a_call_that_gives_up_while_it_logs_in_leaves_the_login_to_the_next() -> None:
    logins = Logins(hang=True)
    tokens = TokenSource(logins)
    first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await eventually(lambda: logins.count == 1)
    first.cancel()
    logins.answer.set()
    assert await second == "token-1"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert logins.count == 1


async def test_a_login_that_nobody_waits_for_any_more_serves_the_next_call() -> None:
    logins = Logins(hang=True)
    tokens = TokenSource(logins)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tokens.get(), 0.001)
    logins.answer.set()
    assert await tokens.get() == "token-1"


async def test_a_login_that_fails_when_nobody_waits_any_more_is_no_loose_end() -> None:
    logins = Logins(Unavailable("nobody there"), hang=True)
    tokens = TokenSource(logins)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tokens.get(), 0.001)
    logins.answer.set()
    await eventually(lambda: tokens._running is None)
    assert await tokens.get() == "token-2"


async def test_closing_ends_a_login_under_way() -> None:
    tokens = TokenSource(Logins(hang=True))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tokens.get(), 0.001)
    await tokens.close()
    assert tokens.token is None


async def test_each_refusal_is_an_error_of_its_own() -> None:
    tokens = TokenSource(Logins(LoginRefused("wrong password")))
    first, second = await asyncio.gather(tokens.get(), tokens.get(), return_exceptions=True)
    assert first is not second


@pytest.mark.parametrize(
    ("token", "raft_index", "kept"),
    [
        ("abc.100", 99, False),
        ("abc.100", 100, True),
        ("abc.100", 0, True),  # a member that doesn't say
        ("header.body.signature", 1, True),  # a JWT
        ("", 1, True),
    ],
)
async def test_a_token_of_a_history_that_etcd_lost_is_forgotten(token: str, raft_index: int, kept: bool) -> None:
    async def login() -> str:
        return token

    tokens = TokenSource(login)
    await tokens.get()
    tokens.met(raft_index)
    assert (tokens.token == token) is kept
