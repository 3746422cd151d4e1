"""Sessions of a gateway that are known by number; tokens in a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.errors import UsageError
from clusterd.sidecar.gateway import Tokens, Uncounted
from clusterd.sidecar.http.tokens import TokenFile

TOKEN = "0123456789abcdef"


@given(st.lists(st.integers(0, 50)))
def test_there_are_as_many_as_are_counted_and_the_first_are_the_first_to_be_gone(counts: list[int]) -> None:
    now = 0
    tokens = Tokens(lambda: now)
    before = range(0)
    for now in counts:
        there = tokens()
        assert len(there) == now
        gone = max(0, len(before) - now)
        assert there.start == before.start + gone
        before = there


def test_nobody_s_count_is_no_count() -> None:
    with pytest.raises(Uncounted):
        Tokens(lambda: None)()


def test_tokens_are_those_of_the_file_at_each_moment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"\n {TOKEN} \r\n")
    tokens = TokenFile(file)
    assert tokens.accepts(TOKEN)
    assert not any(map(tokens.accepts, ("", TOKEN[:-1], f"{TOKEN}x", f" {TOKEN}", "é" * 16, "\udcff")))
    assert TOKEN not in repr(tokens) + str(vars(tokens))
    file.with_suffix(".new").write_text("another-token-16")
    file.with_suffix(".new").rename(file)
    assert tokens.accepts("another-token-16")
    assert not tokens.accepts(TOKEN)
    file.write_bytes(b"")
    assert not tokens.accepts("another-token-16")
    assert not tokens.accepts("")
    file.write_text(TOKEN)
    assert tokens.accepts(TOKEN)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"short", b"x" * 70_000])
def test_a_file_without_a_usable_token_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(data)
    with pytest.raises(UsageError, match="token file"):
        TokenFile(file)
    with pytest.raises(UsageError, match="no such file"):
        TokenFile(tmp_path / "missing")
