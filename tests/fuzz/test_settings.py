"""Configuration from anywhere: flags, environment and file are taken, or refused by a usage error in a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusterctl.settings import Layers, resolve
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.errors import UsageError
from clusterd.etcd.options import parse_endpoint
from clusterd.sidecar.settings import Settings, load
from tests.fuzz.profiles import fuzzed

SECRET = "s3cret-w0rd"
NAMES = [*Settings.__struct_fields__, "nonsense", "NODE", ""]
TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "1",
            "-1",
            "0",
            "1e999",
            "nan",
            "inf",
            "true",
            "a=b",
            "a=b,=c",
            "h:1",
            "[::1]:1",
            "http://h:1",
            "https://[",
            "/x/",
        ]
    ),
    st.sampled_from(
        ["\x00", "/dev/null", "/", "9" * 5000, "1_0", "١", "http://h:99999", "http://h:x", "//", "ftp://h"]
    ),
)
TOML = st.one_of(
    st.binary(max_size=40),
    st.lists(st.tuples(st.sampled_from(NAMES), TEXTS.map(repr) | st.just("[[[[") | TEXTS), max_size=4).map(
        lambda pairs: "\n".join(f"{name} = {value}" for name, value in pairs).encode("utf-8", "surrogatepass")
    ),
    st.just(b"a=" + b"[" * 10_000),
    st.just(b"ttl=" + b"9" * 10_000),
)


def assert_one_line(error: UsageError) -> None:
    assert str(error)
    assert SECRET not in str(error)


@fuzzed(150)
@given(
    st.dictionaries(st.sampled_from(NAMES[:-1]), TEXTS, max_size=4),
    TOML,
    st.dictionaries(st.sampled_from(NAMES[:-3]), TEXTS, max_size=3),
)
def test_the_daemons(tmp_path: Path, environment: dict[str, str], file: bytes, flags: dict[str, Any]) -> None:
    path = tmp_path / "clusterd.toml"
    path.write_bytes(file)
    environ = {f"CLUSTERD_{name.upper()}": value for name, value in environment.items()}
    try:
        settings = load({"node": "gw-1", "address": "h:1", "password": SECRET, **flags}, environ, path)
        settings.etcd_options()
    except UsageError as error:
        assert_one_line(error)


VARIABLES = [
    "ENDPOINTS",
    "CACERT",
    "CERT",
    "KEY",
    "USER",
    "PASSWORD",
    "PASSWORD_FILE",
    "PREFIX",
    "TIMEOUT",
    "NO_COLOR",
    "X",
]


@fuzzed(150)
@given(st.dictionaries(st.sampled_from([*VARIABLES, "X"]), TEXTS, max_size=5), st.booleans())
@example({"TIMEOUT": "9" * 5000}, False)
@example({"PASSWORD_FILE": "\x00", "USER": "u"}, False)
def test_the_commands(variables: dict[str, str], etcdctl: bool) -> None:
    prefix = "ETCDCTL_" if etcdctl else "CLUSTERCTL_"
    try:
        layers = Layers({}, {prefix + name: value for name, value in variables.items()})
        layers.switch("no_color")
        resolve(layers)
    except UsageError as error:
        assert_one_line(error)


@fuzzed(200)
@given(
    st.text(max_size=20)
    | st.lists(st.sampled_from(["http", "://", "[", "]", ":", "/", "@", "h", "1", "%", "?", "#"])).map("".join)
)
def test_endpoints(text: str) -> None:
    try:
        url = parse_endpoint(text)
    except UsageError as error:
        assert_one_line(error)
    else:
        assert parse_endpoint(url) == url
        assert "@" not in url


@pytest.mark.parametrize(
    "endpoint",
    [
        f"http://user:{SECRET}@h:1",
        f"user:{SECRET}@h:1",
        f"http://{SECRET}@h",
        f"http://h:1/@{SECRET}",
        f"http://h:1?x={SECRET}",
        f"http://h:1/{SECRET}",
        f"http://h:{SECRET}",
        f"http://h/#{SECRET}",
        f"http://user:{SECRET}%40h:1",
    ],
)
def test_an_endpoint_with_a_secret_in_it_is_refused_without_being_shown(endpoint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoint(endpoint)
    assert SECRET not in str(caught.value)
