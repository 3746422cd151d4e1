"""Which cluster an endpoint is of: one of another cluster is never believed, and never written to."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from clusterd.etcd.errors import (
    Unavailable,
    WrongCluster,
)
from tests.unit.etcd.places import DOWN, Cluster


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
