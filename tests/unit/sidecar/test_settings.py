"""The daemon's settings: flag over environment over file over default, and no typo passes as a default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.errors import UsageError
from clusterd.etcd.options import DEFAULT_ENDPOINT
from clusterd.sidecar import settings as module
from clusterd.sidecar.settings import Settings, load

NEEDED = {"node": "gw-1", "address": "10.0.0.5:8080"}

# Each setting with four values that differ: as a flag, in the environment and in a file (all three as written there,
# and as they are meant).
WAYS: dict[str, tuple[tuple[Any, Any], tuple[str, Any], tuple[str, Any]]] = {
    "node": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "address": (("flag:1", "flag:1"), ("env:1", "env:1"), ('"file:1"', "file:1")),
    "etcd": (("f:1,g:1", ("f:1", "g:1")), ("e:1, d:1", ("e:1", "d:1")), ('["a:1", "b:1"]', ("a:1", "b:1"))),
    "prefix": (("/flag/", "/flag/"), ("/env/", "/env/"), ('"/file/"', "/file/")),
    "ttl": (("11", 11), ("12", 12), ("13", 13)),
    "weight": (("1", 1), ("2", 2), ("3", 3)),
    "zone": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "label": (
        (("a=1,2", "b=x=y"), {"a": "1,2", "b": "x=y"}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        ('{c="3"}', {"c": "3"}),
    ),
    "endpoint": (
        (("ws=ws://f",), {"ws": "ws://f"}),
        ("ws=ws://e", {"ws": "ws://e"}),
        ('["ws=ws://x"]', {"ws": "ws://x"}),
    ),
    "starting_until": (("f:1", "f:1"), ("e:1", "e:1"), ('"x:1"', "x:1")),
    "replace": ((True, True), ("false", False), ("true", True)),
    "user": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "password": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "password_file": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "cacert": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "cert": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "key": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "control": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "probes": (("flag", "flag"), ("env", "env"), ('"file"', "file")),
    "token_file": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "control_cert": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "drain_hook": (("http://flag/", "http://flag/"), ("http://env/", "http://env/"), ('"http://f/"', "http://f/")),
    "sessions_hook": (("http://flag/", "http://flag/"), ("http://env/", "http://env/"), ('"http://f/"', "http://f/")),
    "marker": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "control_key": (("/flag", Path("/flag")), ("/env", Path("/env")), ('"/file"', Path("/file"))),
    "start_timeout": (("1.5", 1.5), ("2.5", 2.5), ("3", 3.0)),
    "drain_timeout": (("1.5", 1.5), ("2.5", 2.5), ("3", 3.0)),
    "log_format": (("json", "json"), ("text", "text"), ('"json"', "json")),
    "log_level": (("debug", "debug"), ("error", "error"), ('"warning"', "warning")),
}
DEFAULTS = {
    "etcd": (DEFAULT_ENDPOINT,),
    "prefix": "/",
    "ttl": 10,
    "weight": 100,
    "zone": "",
    "label": {},
    "endpoint": {},
    "starting_until": None,
    "replace": False,
    "user": None,
    "password": None,
    "password_file": None,
    "cacert": None,
    "cert": None,
    "key": None,
    "control": "127.0.0.1:8470",
    "probes": "0.0.0.0:8471",
    "token_file": None,
    "control_cert": None,
    "control_key": None,
    "drain_hook": None,
    "sessions_hook": None,
    "marker": None,
    "start_timeout": 30.0,
    "drain_timeout": 30.0,
    "log_format": "text",
    "log_level": "info",
}


def written(directory: Path, text: str) -> Path:
    file = directory / "clusterd.toml"
    file.write_text(text)
    return file


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load(NEEDED, {"CLUSTERD_TTL": "", "CLUSTERD_CACERT": ""}, None) == load(NEEDED, {}, None)


def test_every_setting_is_tested() -> None:
    fields = {field.name for field in msgspec.structs.fields(Settings)}
    assert set(WAYS) == fields
    assert set(DEFAULTS) == fields - {"node", "address"}


@pytest.mark.parametrize("name", WAYS)
def test_a_flag_goes_before_the_environment_and_the_environment_before_the_file(name: str, tmp_path: Path) -> None:
    (flag, flagged), (variable, exported), (text, filed) = WAYS[name]
    flags = {**NEEDED, name: flag}
    others = {other: value for other, value in NEEDED.items() if other != name}
    environ = {f"CLUSTERD_{name.upper()}": variable}
    file = written(tmp_path, f"{name} = {text}\n")
    assert getattr(load(flags, environ, file), name) == flagged
    assert getattr(load(others, environ, file), name) == exported
    assert getattr(load(others, {}, file), name) == filed
    assert getattr(load(others, environ, None), name) == exported


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_what_nobody_sets_has_its_default(name: str, value: Any) -> None:
    assert getattr(load(NEEDED, {}, None), name) == value


@pytest.mark.parametrize("name", ["node", "address"])
def test_node_and_address_must_be_given_and_the_error_says_how(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load({other: value for other, value in NEEDED.items() if other != name}, {}, None)
    assert str(caught.value) == f"no {name} is given: use --{name}, CLUSTERD_{name.upper()} or the file's `{name}`"
    assert caught.value.exit_code == 2


def test_an_unknown_setting_is_an_error_that_names_it_and_its_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="environment CLUSTERD_TTLL: there is no such setting"):
        load(NEEDED, {"CLUSTERD_TTLL": "10"}, None)
    with pytest.raises(UsageError, match=r"clusterd.toml: ttll: there is no such setting"):
        load(NEEDED, {}, written(tmp_path, "ttll = 10"))
    with pytest.raises(UsageError, match=r"clusterd.toml: etcd_tls: there is no such setting"):
        load(NEEDED, {}, written(tmp_path, "[etcd_tls]\ncert = 'x'"))
    with pytest.raises(UsageError, match="--start-timeot: there is no such setting"):
        load({**NEEDED, "start_timeot": "1"}, {}, None)


def test_variables_of_others_are_no_settings() -> None:
    load(NEEDED, {"PATH": "/bin", "CLUSTERCTL_TTLL": "10", "CLUSTERD": "x", "CLUSTERD_CONFIG": "/etc/x"}, None)


@pytest.mark.parametrize("service", ["CLUSTERD", "CLUSTERD_PROBES", "CLUSTERD_GW_2"])
def test_what_kubernetes_tells_of_services_is_no_setting(service: str) -> None:
    links = {
        f"{service}_SERVICE_HOST": "10.96.0.7",
        f"{service}_SERVICE_PORT": "8471",
        f"{service}_SERVICE_PORT_HTTP_PROBES": "8471",
        f"{service}_PORT": "tcp://10.96.0.7:8471",
        f"{service}_PORT_8471_TCP": "tcp://10.96.0.7:8471",
        f"{service}_PORT_8471_TCP_PROTO": "tcp",
        f"{service}_PORT_8471_TCP_PORT": "8471",
        f"{service}_PORT_8471_TCP_ADDR": "10.96.0.7",
        f"{service}_PORT_53_UDP": "udp://10.96.0.7:53",
    }
    assert load(NEEDED, links, None) == load(NEEDED, {}, None)


def test_no_setting_is_called_like_what_kubernetes_tells_of_services() -> None:
    assert not [name for name in WAYS if module._SERVICE_LINK.fullmatch(f"CLUSTERD_{name.upper()}")]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("TTL", "ten", "'ten' can't be used: expected a whole number"),
        ("TTL", "10.5", "'10.5' can't be used: expected a whole number"),
        ("START_TIMEOUT", "soon", "'soon' can't be used: expected a number"),
        ("REPLACE", "perhaps", "'perhaps' can't be used: expected true or false"),
        ("LOG_FORMAT", "xml", "'xml' can't be used: expected text or json"),
        ("LOG_LEVEL", "loud", "'loud' can't be used: expected debug or info or warning or error"),
        ("LABEL", "tier", "'tier' is not NAME=VALUE"),
        ("LABEL", "a=1,=2", "'=2' is not NAME=VALUE"),
    ],
)
def test_a_value_that_cannot_be_used_says_what_is_expected(variable: str, value: str, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(NEEDED, {f"CLUSTERD_{variable}": value}, None)
    assert str(caught.value) == f"environment CLUSTERD_{variable}: {expected}"


@pytest.mark.parametrize(
    "line",
    [
        "ttl = true",
        "zone = 5",
        "etcd = 5",
        "etcd = [5]",
        "label = 5",
        "label = true",
        "label = [5]",
        "label = {a = 1}",
        "cacert = 5",
        "password_file = []",
        "replace = []",
        "user = 1979-05-27",
    ],
)
def test_a_file_s_value_of_another_kind_is_refused_by_name(line: str, tmp_path: Path) -> None:
    name = line.partition(" ")[0]
    with pytest.raises(UsageError, match=rf"clusterd.toml: {name}: ") as caught:
        load(NEEDED, {}, written(tmp_path, line))
    assert "expected expected" not in str(caught.value).lower()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=3), SCALARS, max_size=2)


@given(st.sampled_from(sorted(WAYS)), VALUES)
def test_any_value_in_a_file_is_taken_or_refused(name: str, value: Any) -> None:
    try:
        converted = module._convert(name, value, str)
    except UsageError:
        return
    assert msgspec.convert({**NEEDED, name: converted}, Settings, dec_hook=lambda kind, raw: kind(raw))


@given(st.sampled_from(sorted(WAYS)), st.text())
def test_any_text_in_the_environment_is_taken_or_refused(name: str, text: str) -> None:
    try:
        load(NEEDED, {f"CLUSTERD_{name.upper()}": text}, None)
    except UsageError as error:
        assert f"CLUSTERD_{name.upper()}: " in str(error)  # noqa: PT017 - either way is right


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"configuration file .*missing.toml: no such file"):
        load(NEEDED, {}, tmp_path / "missing.toml")
    with pytest.raises(UsageError, match=r"configuration file .*clusterd.toml is not TOML"):
        load(NEEDED, {}, written(tmp_path, "ttl: 10"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"configuration file .*binary.toml: "):
        load(NEEDED, {}, binary)


# --- Secrets ---


def test_no_password_is_shown(tmp_path: Path) -> None:
    settings = load(NEEDED, {"CLUSTERD_USER": "root", "CLUSTERD_PASSWORD": "hunter2"}, None)
    assert settings.etcd_options().password == "hunter2"
    assert "hunter2" not in f"{settings!r} {settings} {settings.etcd_options()!r}"
    for line in ("password = ['hunter2']", "password = {a = 'hunter2'}"):
        with pytest.raises(UsageError, match="password: the value can't be used") as caught:
            load(NEEDED, {}, written(tmp_path, line))
        assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
    with pytest.raises(UsageError) as caught:
        load(NEEDED, {"CLUSTERD_PASSWROD": "hunter2"}, None)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_password_file_s_last_line_end_is_not_the_password_s(ending: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(f" hunter2 {ending}".encode())
    settings = load({**NEEDED, "user": "root", "password_file": str(file)}, {}, None)
    assert settings.etcd_options().password == " hunter2 "


def test_a_password_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match=f"password file {file}: "):
            load({**NEEDED, "user": "root", "password_file": str(file)}, {}, None).etcd_options()
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(UsageError, match=f"password file {binary}: "):
        load({**NEEDED, "user": "root", "password_file": str(binary)}, {}, None).etcd_options()


def test_the_password_goes_by_where_it_was_set_in_whichever_way(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"in-{name}")
    user = {**NEEDED, "user": "root"}
    file = written(tmp_path, f"password_file = '{tmp_path / 'one'}'")

    def password(flags: dict[str, str], environ: dict[str, str], file: Path | None) -> str | None:
        return load({**user, **flags}, environ, file).etcd_options().password

    assert password({}, {}, file) == "in-one"
    assert password({}, {"CLUSTERD_PASSWORD": "exported"}, file) == "exported"
    assert password({"password_file": str(tmp_path / "two")}, {"CLUSTERD_PASSWORD": "exported"}, file) == "in-two"
    assert password({}, {"CLUSTERD_PASSWORD_FILE": str(tmp_path / "two")}, file) == "in-two"


# --- How to reach etcd ---


def test_settings_say_how_to_reach_etcd() -> None:
    options = load({**NEEDED, "etcd": "a,b:1", "cacert": "/ca.pem"}, {}, None).etcd_options()
    assert options.endpoints == ("https://a:2379", "https://b:1")
    assert options.tls is not None
    assert options.tls.cacert == Path("/ca.pem")
    assert load(NEEDED, {}, None).etcd_options().tls is None


def test_settings_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(UsageError, match="no password"):
        load({**NEEDED, "user": "root"}, {}, None).etcd_options()
    with pytest.raises(UsageError, match="give cert and key"):
        load({**NEEDED, "cert": "/cert.pem"}, {}, None).etcd_options()
    with pytest.raises(UsageError, match="no etcd endpoint"):
        load({**NEEDED, "etcd": " , "}, {}, None).etcd_options()
