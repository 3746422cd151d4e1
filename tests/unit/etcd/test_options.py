"""How to reach etcd: whatever can't work is refused before anything connects, and no secret is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.errors import UsageError
from clusterd.etcd.options import DEFAULT_ENDPOINT, TLS, EtcdOptions, parse_endpoint


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://10.0.0.5:2379", "http://10.0.0.5:2379"),
        ("http://10.0.0.5:2379/", "http://10.0.0.5:2379"),
        ("https://etcd.example:443", "https://etcd.example:443"),
        ("HTTP://Etcd.Example", "http://etcd.example:2379"),
        ("etcd.example", "http://etcd.example:2379"),
        ("10.0.0.5:12379", "http://10.0.0.5:12379"),
        ("[::1]:2379", "http://[::1]:2379"),
        ("http://[::1]", "http://[::1]:2379"),
    ],
)
def test_an_endpoint_is_a_scheme_a_host_and_a_port(text: str, url: str) -> None:
    assert parse_endpoint(text) == url
    assert parse_endpoint(url) == url


def test_an_endpoint_without_a_scheme_is_https_where_tls_is_given() -> None:
    assert parse_endpoint("etcd.example", secure=True) == "https://etcd.example:2379"
    assert parse_endpoint("http://etcd.example", secure=True) == "http://etcd.example:2379"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no host"),
        ("http://", "names no host"),
        ("http://:2379", "names no host"),
        ("http://a b:2379", "names no host"),
        ("ftp://etcd.example", "scheme 'ftp' is not http or https"),
        ("unix:///var/run/etcd.sock", "scheme 'unix' is not http or https"),
        ("http://etcd.example:0", "has port 0"),
        ("http://etcd.example:99999", "99999"),
        ("http://etcd.example:http", "port is not a number"),
        ("http://[::1", "http://[::1"),
        ("http://etcd.example/v3", "has a path"),
        ("http://etcd.example?a=b", "has a path"),
        ("http://etcd.example#a", "has a path"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text)
    assert complaint in str(caught.value)
    assert ("etcd.example" in str(caught.value)) is ("etcd.example" in text)


@pytest.mark.parametrize(
    "text",
    [
        "http://root:hunter2@etcd.example:2379",
        "root:hunter2@etcd.example",
        "http://root:hunter2@etcd.example:99999",
        "http://root:hun/ter2@etcd.example",
        "http://root:hun?ter2@etcd.example",
        "ftp://root:hunter2@[::1",
        "http://hunter2@etcd.example",
    ],
)
def test_a_password_in_an_endpoint_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError, match="give them as settings of their own") as caught:
        parse_endpoint(text)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@example("http://[::1%eth0]:2379")
@example("http://ⓔtcd:2379")
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    try:
        url = parse_endpoint(text)
    except UsageError:
        return
    assert parse_endpoint(url) == url


def test_options_come_from_whatever_is_easy_to_write() -> None:
    expected = ("http://a:2379", "http://b:2379")
    assert EtcdOptions.of("http://a:2379, b,").endpoints == expected
    assert EtcdOptions.of(["a", "http://b:2379", "http://a:2379/"]).endpoints == expected
    options = EtcdOptions(("a", "b"))
    assert EtcdOptions.of(options) is options
    assert EtcdOptions().endpoints == (DEFAULT_ENDPOINT,)


@pytest.mark.parametrize("etcd", ["", " , ", []])
def test_at_least_one_endpoint_is_needed(etcd: str | list[str]) -> None:
    with pytest.raises(UsageError, match="no etcd endpoint is given"):
        EtcdOptions.of(etcd)


def test_a_user_needs_a_password() -> None:
    with pytest.raises(UsageError, match="'root' has no password"):
        EtcdOptions(user="root")
    assert EtcdOptions(user="root", password="").password == ""


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_call_takes_some_time(timeout: float) -> None:
    with pytest.raises(UsageError, match="timeout"):
        EtcdOptions(timeout=timeout)


def test_options_show_no_password() -> None:
    assert "hunter2" not in repr(EtcdOptions(user="root", password="hunter2"))


def test_a_client_certificate_needs_its_key(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give cert and key"):
        TLS(cert=tmp_path / "cert.pem")
    with pytest.raises(UsageError, match="give cert and key"):
        TLS(key=tmp_path / "key.pem")


def test_tls_checks_certificate_and_host_name() -> None:
    context = TLS().context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("no PEM")
    for file in (missing, garbage, tmp_path):
        with pytest.raises(UsageError, match=f"CA file {file}: "):
            TLS(cacert=file).context()
        with pytest.raises(UsageError, match=f"client certificate {file} with key {file}: "):
            TLS(cert=file, key=file).context()
