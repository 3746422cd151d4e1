"""The daemon drains a gateway through its hooks, also where they fail, hang and lie."""

from __future__ import annotations

import time
from typing import Any

from clusterd.testing import eventually


async def shown(daemon: Any, **wanted: object) -> dict[str, Any]:
    """Wait until the daemon shows its drain like that."""

    async def look() -> dict[str, Any] | None:
        drain = (await daemon.get("/v1/self"))["drain"]
        return drain if drain and all(drain[name] == value for name, value in wanted.items()) else None

    found = await eventually(look, what=f"a drain with {wanted}")
    assert found is not None
    return found


async def counted(daemon: Any, sessions: int | None) -> None:
    async def look() -> bool:
        return bool((await daemon.get("/v1/self"))["sessions"] == sessions)

    await eventually(look, what=f"{sessions} sessions")


async def test_sessions_are_counted_by_the_hook(yard: Any) -> None:
    gateway = await yard.gateway(7)
    daemon = await yard.hooked(gateway)
    await counted(daemon, 7)
    assert await daemon.value("clusterd_sessions") == 7
    assert await daemon.value("clusterd_hook_requests_total", hook="sessions", outcome="ok") >= 1


async def test_a_drain_has_the_sessions_closed_at_its_pace(yard: Any) -> None:
    gateway = await yard.gateway(40)
    daemon = await yard.hooked(gateway)
    await counted(daemon, 40)
    await daemon.call("POST", "/v1/self/drain", {"rate": 40, "deadline": 30, "reason": "kernel"})
    drain = await shown(daemon, phase="drained")
    assert (drain["moved"], drain["left"], gateway.sessions) == (40, 0, 0)
    assert {eviction["reason"] for eviction in gateway.asked} == {"kernel"}
    assert sum(eviction["close"] for eviction in gateway.asked) == 40
    assert len(gateway.asked) > 2, "the sessions were closed all at once"
    assert len({headers["Idempotency-Key"] for headers in gateway.headers}) == len(gateway.asked)
    assert await daemon.value("clusterd_drain_phase", phase="drained") == 1
    assert await daemon.value("clusterd_drain_sessions_moved") == 40


async def test_sigterm_moves_the_sessions_and_ends(yard: Any) -> None:
    gateway = await yard.gateway(5)
    daemon = await yard.hooked(gateway)
    await counted(daemon, 5)
    assert await daemon.process.terminate(20) == 0
    assert gateway.sessions == 0
    assert any("drained: 5 sessions moved, 0 left" in line for line in daemon.process.lines)


async def test_a_hook_that_fails_for_a_while_is_asked_again_under_the_same_key(yard: Any) -> None:
    gateway = await yard.gateway(3)
    gateway.manner = "fail"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 3)
    await daemon.call("POST", "/v1/self/drain", {"deadline": 60})

    async def insisted() -> bool:
        return len(gateway.asked) >= 3

    await eventually(insisted, what="further tries")
    assert len({headers["Idempotency-Key"] for headers in gateway.headers[:3]}) == 1
    gateway.manner = "close"
    assert (await shown(daemon, phase="drained"))["left"] == 0
    assert await daemon.value("clusterd_hook_requests_total", hook="drain", outcome="failed") >= 3


async def test_a_hook_that_refuses_is_named_as_what_blocks_the_drain(yard: Any) -> None:
    gateway = await yard.gateway(3)
    gateway.manner = "refuse"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 3)
    await daemon.call("POST", "/v1/self/drain", {"deadline": 60})
    says = f"drain hook {gateway.url}/drain: answered 403: it refuses what it is asked"
    await shown(daemon, blocked_by=says)
    assert await daemon.value("clusterd_drain_blocked") == 1
    assert not [line for line in daemon.process.lines if "Traceback" in line]
    gateway.manner = "close"
    await shown(daemon, phase="drained")


async def test_a_gateway_that_hangs_does_not_hold_the_end_up_past_the_deadline(yard: Any) -> None:
    gateway = await yard.gateway(3)
    gateway.manner = "hang"
    daemon = await yard.hooked(gateway, "--drain-timeout", "2")
    await counted(daemon, 3)
    began = time.monotonic()
    assert await daemon.process.terminate(30) == 0
    assert time.monotonic() - began < 20, "it waited for the gateway"
    assert any("drained: 0 sessions moved, 3 left" in line for line in daemon.process.lines)
    assert gateway.asked[-1]["forced"], "what was left was not asked for at the deadline"


async def test_a_gateway_that_lies_is_not_called_drained(yard: Any) -> None:
    gateway = await yard.gateway(3)
    gateway.manner = "lie"
    daemon = await yard.hooked(gateway)
    await counted(daemon, 3)
    await daemon.call("POST", "/v1/self/drain", {"deadline": 60})
    await shown(daemon, phase="draining", left=3)

    async def asked_again() -> bool:
        return sum(eviction["close"] for eviction in gateway.asked) >= 6

    await eventually(asked_again, timeout=20, what="the same sessions asked for again")
    gateway.manner = "close"
    await shown(daemon, phase="drained")


async def test_a_gateway_that_does_not_answer_how_many_is_not_taken_for_empty(yard: Any) -> None:
    gateway = await yard.gateway(3)
    gateway.count_manner = "fail"
    daemon = await yard.hooked(gateway)
    await daemon.call("POST", "/v1/self/drain", {"deadline": 60})

    async def blocked() -> bool:
        drain = (await daemon.get("/v1/self"))["drain"]
        return drain is not None and drain["blocked_by"].startswith("sessions are not counted")

    await eventually(blocked, what="a drain that waits to be told a number")
    assert await daemon.value("clusterd_sessions") is None
    gateway.count_manner = "count"
    await shown(daemon, phase="drained")


async def test_a_hook_that_can_not_be_one_is_refused_in_a_line(yard: Any) -> None:
    from clusterd.testing import AgentProcess

    for value in ("ftp://x", "http://", "http://user:hunter2@h/", "unix:", "http://h:99999/"):
        arguments = ("--node", "gw-1", "--address", "h:1", "--drain-hook", value)
        async with AgentProcess(*arguments) as process:
            assert await process.wait(30) == 2
        assert len(process.lines) == 1, process.lines
        assert process.lines[0].startswith("clusterd: --drain-hook: ")
        assert "hunter2" not in process.lines[0]
