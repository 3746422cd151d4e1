"""Which endpoint comes next: the one that works, then those that failed longest ago."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from clusterd.etcd.endpoints import EndpointPool

URLS = ("http://a:2379", "http://b:2379", "http://c:2379")


def test_a_fleet_spreads_over_the_endpoints() -> None:
    firsts = [EndpointPool(URLS).candidates()[0] for _ in range(300)]
    assert all(firsts.count(url) > 50 for url in URLS)


def test_a_call_stays_where_calls_work() -> None:
    pool = EndpointPool(URLS, random.Random(1))
    assert pool.candidates() == pool.candidates()
    assert len(pool) == 3


@given(st.lists(st.sampled_from(URLS), max_size=12))
def test_endpoints_that_failed_come_last_the_latest_failure_at_the_end(failures: list[str]) -> None:
    pool = EndpointPool(URLS)
    for url in failures:
        pool.failed(url)
    order = pool.candidates()
    assert sorted(order) == sorted(URLS)
    latest = list(dict.fromkeys(reversed(failures)))[::-1]
    assert order[len(URLS) - len(latest) :] == tuple(latest)


def test_a_round_goes_on_over_the_endpoints_that_it_began_with() -> None:
    pool = EndpointPool(URLS)
    tried = []
    for url in pool.candidates():
        tried.append(url)
        pool.failed(url)
    assert tuple(tried) == pool.candidates()


def test_who_listens_hears_of_each_failure_until_taken_off() -> None:
    pool, heard = EndpointPool(URLS), list[str]()
    forget = pool.on_failure(heard.append)
    pool.failed(URLS[1])
    forget()
    pool.failed(URLS[2])
    assert heard == [URLS[1]]


def test_a_listener_may_take_itself_off_when_it_hears() -> None:
    pool, heard = EndpointPool(URLS), list[str]()

    def once(url: str) -> None:
        heard.append(url)
        forget()

    forget = pool.on_failure(once)
    pool.on_failure(heard.append)
    pool.failed(URLS[0])
    pool.failed(URLS[1])
    assert heard == [URLS[0], URLS[0], URLS[1]]
