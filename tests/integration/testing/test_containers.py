"""etcd in a container built from scratch around a binary."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clusterd.errors import ClusterdError
from clusterd.testing import EtcdAdmin, EtcdBinary, etcd_binaries
from clusterd.testing.containers import IMAGE_VARIABLE, EtcdContainer, etcd_image, is_static


@pytest.mark.containers
@pytest.mark.usefixtures("docker")
async def test_an_etcd_in_a_container_serves_is_restarted_and_goes_away() -> None:
    (binary, *_) = [b for b in etcd_binaries() if is_static(b.etcd)]
    async with EtcdContainer(binary) as etcd:
        async with EtcdAdmin(etcd.endpoint) as admin:
            await admin.put("/k", "1")
        await etcd.restart()
        async with EtcdAdmin(etcd.endpoint) as admin:
            assert await admin.get("/k") is not None
            etcd.pause()
            etcd.resume()
            await admin.put("/k", "2")


def test_the_image_can_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, "registry.example/etcd:v3.5.16")
    assert etcd_image(etcd_binaries()[0]) == "registry.example/etcd:v3.5.16"


def test_no_image_is_built_around_a_binary_that_needs_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE, raising=False)
    python = Path(sys.executable).resolve()
    if is_static(python):
        pytest.skip("this Python is a static binary itself")
    with pytest.raises(ClusterdError, match=f"needs shared libraries.*{IMAGE_VARIABLE}"):
        etcd_image(EtcdBinary((3, 4, 0), python, python))
