"""etcd over TLS and mutual TLS, with certificates made for the test."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from clusterd.testing import EtcdAdmin, EtcdBinary, EtcdServer
from clusterd.testing.certs import make_certificates


@pytest.mark.parametrize("mutual", [False, True])
async def test_a_client_that_trusts_the_authority_gets_through(
    etcd_binary: EtcdBinary, tmp_path: Path, mutual: bool
) -> None:
    certificates = make_certificates(tmp_path)
    async with EtcdServer(binary=etcd_binary, tls=certificates, mutual_tls=mutual) as etcd:
        assert etcd.endpoint.startswith("https://")
        await etcd.admin.put("/k", "1")
        await etcd.restore(await etcd.snapshot())
        assert await etcd.admin.get("/k") is not None


async def test_a_client_that_trusts_another_authority_is_kept_out(etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    others = make_certificates(tmp_path / "others").client_context()
    server = EtcdServer(binary=etcd_binary, tls=make_certificates(tmp_path / "ours"))
    async with server as etcd, EtcdAdmin(etcd.endpoint, ssl_context=others) as stranger:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await stranger.status()


async def test_with_mutual_tls_a_client_without_a_certificate_is_kept_out(
    etcd_binary: EtcdBinary, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path)
    anonymous = certificates.client_context(with_certificate=False)
    server = EtcdServer(binary=etcd_binary, tls=certificates, mutual_tls=True)
    async with server as etcd, EtcdAdmin(etcd.endpoint, ssl_context=anonymous) as stranger:
        with pytest.raises(aiohttp.ClientError):
            await stranger.status()


async def test_a_certificate_for_another_host_is_noticed(etcd_binary: EtcdBinary, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path, hosts=("elsewhere.example", "127.0.0.1"))
    async with EtcdServer(binary=etcd_binary, tls=certificates) as etcd:
        by_name = etcd.endpoint.replace("127.0.0.1", "localhost")
        async with EtcdAdmin(by_name, ssl_context=certificates.client_context()) as admin:
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match="localhost"):
                await admin.status()
