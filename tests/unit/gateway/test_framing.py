"""However a message is cut, it is what it was; what can't be one is refused with the code for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows import WSMsgType

from examples.gateway.errors import BadFrame
from examples.gateway.framing import Assembly, answer_to_close
from examples.gateway.protocol import MAX_FRAME, NO_TEXT, NOT_WEBSOCKET, TOO_LONG

TEXT, MORE, BINARY = WSMsgType.TEXT, WSMsgType.CONTINUATION, WSMsgType.BINARY


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=6), max_size=5))
def test_messages_in_fragments_come_out_whole(messages: list[list[bytes]]) -> None:
    assembly = Assembly()
    for fragments in messages:
        for number, fragment in enumerate(fragments, 1):
            last = number == len(fragments)
            got = assembly.add(MORE if number > 1 else TEXT, memoryview(fragment), fin=last)
            assert got == (b"".join(fragments) if last else None)
            assert assembly.begun is not last


@pytest.mark.parametrize(
    ("before", "kind", "size", "code"),
    [
        (0, MORE, 0, NOT_WEBSOCKET),
        (1, TEXT, 0, NOT_WEBSOCKET),
        (1, BINARY, 0, NOT_WEBSOCKET),
        (0, BINARY, 0, NO_TEXT),
        (1, MORE, MAX_FRAME, TOO_LONG),
    ],
)
def test_what_is_refused_and_how(before: int, kind: WSMsgType, size: int, code: int) -> None:
    assembly = Assembly()
    for _ in range(before):
        assembly.add(TEXT, b"x", fin=False)
    with pytest.raises(BadFrame) as refused:
        assembly.add(kind, bytes(size), fin=True)
    assert refused.value.code == code


@given(st.integers(0, 65_535))
def test_a_close_is_answered_with_its_code_if_that_may_be_sent(code: int) -> None:
    allowed = (1000 <= code < 1016 and code not in (1004, 1005, 1006, 1015)) or 3000 <= code < 5000
    assert answer_to_close(code.to_bytes(2) + b"why") == (code if allowed else NOT_WEBSOCKET)
