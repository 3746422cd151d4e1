"""Who may be at the other end of a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clusterd import UsageError
from clusterd.testing import eventually, never
from clusterd.testing.certs import Authority
from examples.gateway.main import mutual_tls, read_secret
from tests.integration.gateway.conftest import Yard


def tls(directory: Path, name: str) -> Any:
    """Return contexts with a certificate of an authority of that name."""
    authority = Authority(directory, name)
    cert, key = authority.issue(f"{name}-node", hosts=("127.0.0.1",))
    return mutual_tls(str(cert), str(key), str(authority.certificate))


async def test_a_node_with_another_secret_is_not_linked(yard: Yard) -> None:
    one, other = await yard.gateway("gw-1"), await yard.gateway("gw-2", secret=b"another secret, as long")
    await eventually(lambda: len(one.fleet.topology) == len(other.fleet.topology) == 2)
    await never(lambda: "gw-2" in one.fleet.lines or "gw-1" in other.fleet.lines, 1.0)


async def test_links_with_mutual_tls_carry_messages(yard: Yard, tmp_path: Path) -> None:
    one, other = await yard.pair(tls=tls(tmp_path, "ours"))
    ann, bob = await yard.client(one, "ann", "lobby"), await yard.client(other, "bob", "lobby")
    await ann.send("room:lobby", "hi")
    assert (await anext(aiter(bob))).body == "hi"


async def test_a_certificate_of_another_authority_is_refused(yard: Yard, tmp_path: Path) -> None:
    one = await yard.gateway("gw-1", tls=tls(tmp_path, "ours"))
    other = await yard.gateway("gw-2", tls=tls(tmp_path, "theirs"))
    await eventually(lambda: len(one.fleet.topology) == len(other.fleet.topology) == 2)
    await never(lambda: "gw-2" in one.fleet.lines or "gw-1" in other.fleet.lines, 1.0)


async def test_what_others_cannot_be_trusted_with_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(UsageError, match="too short"):
        read_secret(tmp_path / "secret")
    with pytest.raises(UsageError, match="all of"):
        mutual_tls("cert.pem", None, None)
