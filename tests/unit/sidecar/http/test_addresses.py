"""Where listeners listen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.errors import Conflict, UsageError
from clusterd.sidecar.http.addresses import ListenAddress
from clusterd.sidecar.http.guard import is_loopback


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("127.0.0.1:8470", True),
        ("127.5.0.1:0", True),
        ("localhost:1", True),
        ("[::1]:8470", True),
        ("unix:/run/x.sock", True),
        ("0.0.0.0:8471", False),
        ("[::]:8471", False),
        ("10.0.0.5:8470", False),
        ("gateway.example:8470", False),
    ],
)
def test_an_address_is_read_and_written_alike_and_known_to_be_private_or_not(text: str, private: bool) -> None:
    address = ListenAddress.parse(text, "control")
    assert address is not None
    assert (str(address), address.private) == (text, private)


def test_off_is_nowhere() -> None:
    assert ListenAddress.parse("off", "control") is None


@pytest.mark.parametrize("text", ["", "8470", ":8470", "h:", "h:65536", "h:-1", "::1:80", "[h]:80", "a b:1", "unix:"])
def test_what_is_no_address_is_refused_by_its_setting(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--probes "):
        ListenAddress.parse(text, "probes")


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        ListenAddress.parse(text, "control")
    except UsageError as error:
        assert str(error).startswith("--control ")  # noqa: PT017 - either way is right


def bound(text: str) -> ListenAddress:
    address = ListenAddress.parse(text, "control")
    assert address is not None
    return address


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with bound("127.0.0.1:0").bound() as sock:
        taken = bound(f"127.0.0.1:{sock.getsockname()[1]}")
        with pytest.raises(Conflict, match="is taken by another process"), taken.bound():
            pass


def test_a_socket_that_nobody_listens_at_is_replaced_and_one_that_is_used_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    address = bound(f"unix:{path}")
    with address.bound():
        with pytest.raises(Conflict), address.bound():
            pass
        assert path.exists()
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(Conflict), address.bound():
        pass
    assert path.read_text() == "mine"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8470", "localhost:1", "LOCALHOST", "[::1]:8470", "[::1]"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example:1", "10.0.0.1", "0", "1", "["]
)
def test_other_hosts(host: str) -> None:
    assert not is_loopback(host)
