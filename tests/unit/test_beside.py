"""A coroutine that runs beside a body ends with it, and leaves the body's errors as they are."""

from __future__ import annotations

import asyncio

import pytest

from clusterd.aio import beside


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError("beside")


async def test_it_is_cancelled_and_awaited_at_the_end() -> None:
    async with beside(for_ever(), name="helper") as task:
        assert task.get_name() == "helper"
        assert not task.done()
    assert task.cancelled()


async def test_its_failure_is_raised_after_the_body() -> None:
    reached = False
    with pytest.raises(ValueError, match="beside"):
        async with beside(fail(), name="helper"):
            await asyncio.sleep(0.01)
            reached = True
    assert reached


async def test_the_bodys_error_comes_out_as_it_is() -> None:
    group = ExceptionGroup("of the body", [ValueError("one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with beside(for_ever(), name="helper"):
            raise group
    assert caught.value is group
