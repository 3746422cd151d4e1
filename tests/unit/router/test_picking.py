"""Which node a request goes to, and what becomes of one that failed."""

from __future__ import annotations

from collections import Counter

import pytest

from clusterd import Node, Topology, UsageError
from examples.router.balancing import Balancer
from examples.router.failures import AttemptFailed, Failure
from examples.router.keys import key_of
from examples.router.pools import Pools, destination
from examples.router.proxy import origin
from examples.router.settings import STRATEGIES, Settings
from examples.router.upstreams import Upstream, Upstreams


def node(name: str, **changes: object) -> Node:
    return Node(id=name, address=f"10.0.0.1:{8000 + ord(name[-1])}", instance=name).replace(**changes)


FLEET = Topology.of([node("a"), node("b"), node("c")], 7)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_node_that_failed_is_passed_over_and_one_that_was_tried_is_not_tried_again(strategy: str) -> None:
    upstreams = Upstreams(1, clock=lambda: 0.0)
    balancer = Balancer(strategy, upstreams)
    upstreams.of(FLEET.nodes["b"]).failed("refused")
    assert {picked.id for n in range(60) if (picked := balancer.choose("", FLEET, f"k{n}"))} == {"a", "c"}
    tried: list[str] = []
    while picked := balancer.choose("", FLEET, "k", tried):
        tried.append(picked.id)
    assert sorted(tried) == ["a", "b", "c"]
    assert tried[-1] == "b", "the one that failed comes last"


def test_a_key_goes_to_its_owner_then_to_its_fallbacks() -> None:
    balancer = Balancer("hash", Upstreams(1))
    route = [each.id for each in FLEET.route("user:ada", n=3).nodes]
    tried: list[str] = []
    while picked := balancer.choose("", FLEET, "user:ada", tried):
        tried.append(picked.id)
    assert tried == route


def test_without_a_key_hashing_takes_turns() -> None:
    balancer = Balancer("hash", Upstreams(1))
    picked = Counter(found.id for _ in range(30) if (found := balancer.choose("", FLEET, None)))
    assert picked == {"a": 10, "b": 10, "c": 10}


def test_least_sessions_goes_by_what_is_under_way() -> None:
    upstreams = Upstreams(1)
    balancer = Balancer("least-sessions", upstreams)
    with upstreams.of(FLEET.nodes["a"]).session(), upstreams.of(FLEET.nodes["b"]).session():
        pairs = Counter(found.id for _ in range(300) if (found := balancer.choose("", FLEET, None)))
    assert pairs["c"] > 150


def test_a_failed_node_is_tried_by_one_request_once_its_pause_is_over() -> None:
    now = [0.0]
    upstream = Upstream(FLEET.nodes["a"], clock=lambda: now[0])
    upstream.failed("refused")
    assert not upstream.healthy
    now[0] = 30.0
    assert upstream.healthy
    with upstream.session():
        assert not upstream.healthy, "others wait for how the trial goes"
        upstream.succeeded()
    assert upstream.healthy


def test_all_that_was_under_way_fails_as_one() -> None:
    now = [0.0]
    upstream = Upstream(FLEET.nodes["a"], clock=lambda: now[0])
    for _ in range(100):
        upstream.failed("reset")
    now[0] = 0.5
    assert upstream.healthy, "the first pause is half a second at the most"


def test_a_restarted_node_begins_with_a_clean_slate() -> None:
    upstreams = Upstreams(1)
    upstreams.of(FLEET.nodes["a"]).failed("refused")
    again = FLEET.evolve([node("a", instance="2nd")], [], 8, cluster_id=0)
    upstreams.follow(again)
    assert upstreams.of(again.nodes["a"]).healthy


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/chat?x=1", ("", "/chat?x=1", "")),
        ("/api/orders/4%2F2?x=1", ("orders", "/4%2F2?x=1", "/api/orders")),
        ("/api/orders", ("orders", "/", "/api/orders")),
        ("/api/orders?x", ("orders", "/?x", "/api/orders")),
        ("//evil.example/x", ("", "//evil.example/x", "")),
    ],
)
def test_where_a_request_goes(target: str, expected: tuple[str, str, str]) -> None:
    assert destination(target, "/api/") == expected


@pytest.mark.parametrize(
    ("target", "status"), [("http://evil.example/", 400), ("*", 400), ("/api/", 404), ("/api/%2e%2e/x", 404)]
)
def test_what_goes_nowhere(target: str, status: int) -> None:
    with pytest.raises(Failure) as raised:
        destination(target, "/api/")
    assert raised.value.status == status


def test_pools_split_the_topology_by_service() -> None:
    labelled = [node("o-1", labels={"service": "orders", "tier": "edge"}), node("o-2", labels={"service": "orders"})]
    topology = Topology.of([*FLEET, *labelled], 9)
    pools = Pools(lambda: topology, Settings())
    assert [list(pool.nodes) for name in ("", "orders") if (pool := pools.of(name))] == [
        ["a", "b", "c"],
        ["o-1", "o-2"],
    ]
    assert pools.of("nope") is None
    edge = Pools(lambda: topology, Settings(select={"tier": "edge"})).of("orders")
    assert edge is not None
    assert list(edge.nodes) == ["o-1"]
    assert edge.revision == 9


def test_where_a_node_is_reached() -> None:
    reached = node("a", endpoints={"ws": "wss://gw.example/ws", "http": "http://[::1]:81/", "odd": "mqtt://x:1"})
    assert origin(reached, "") == "http://10.0.0.1:8097"
    assert origin(reached, "ws") == "https://gw.example"
    assert origin(reached, "http") == "http://[::1]:81"
    for name in ("odd", "nope"):
        with pytest.raises(AttemptFailed, match="no endpoint") as failed:
            origin(reached, name)
        assert failed.value.untouched
        assert not failed.value.dead


def test_what_can_be_hashed_by() -> None:
    for spec in ("user", "path", "header:X-Tenant", "cookie:sid", "query:room"):
        key_of(spec)
    for spec in ("header:", "moon", "moon:x", ""):
        with pytest.raises(UsageError, match="can't hash by"):
            key_of(spec)
