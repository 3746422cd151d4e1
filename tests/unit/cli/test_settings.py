"""Settings: flag over CLUSTERCTL_* over ETCDCTL_* over default; passwords; what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusterctl.settings import Layers, resolve

from clusterd.errors import UsageError
from clusterd.etcd.options import DEFAULT_ENDPOINT


def settings(environ: dict[str, str] | None = None, **flags: object):
    return resolve(Layers(flags, environ or {}))


def test_without_anything_it_is_the_etcd_of_this_host() -> None:
    found = settings()
    assert found.etcd.endpoints == (DEFAULT_ENDPOINT,)
    assert found.etcd.user is None
    assert found.etcd.timeout == 5
    assert found.keyspace.prefix == "/"


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({"ETCDCTL_ENDPOINTS": "e:1"}, {}, "http://e:1"),
        ({"ETCDCTL_ENDPOINTS": "e:1", "CLUSTERCTL_ENDPOINTS": "c:2"}, {}, "http://c:2"),
        ({"ETCDCTL_ENDPOINTS": "e:1", "CLUSTERCTL_ENDPOINTS": "c:2"}, {"endpoints": "f:3"}, "http://f:3"),
        ({"ETCDCTL_ENDPOINTS": "e:1", "CLUSTERCTL_ENDPOINTS": ""}, {}, "http://e:1"),
    ],
)
def test_the_upper_layer_wins(environ: dict[str, str], flags: dict[str, str], expected: str) -> None:
    assert settings(environ, **flags).etcd.endpoints == (expected,)


def test_endpoints_are_a_list_with_commas() -> None:
    assert settings(endpoints="a:1, b:2,").etcd.endpoints == ("http://a:1", "http://b:2")


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({}, {"user": "ann:secret"}, ("ann", "secret")),
        ({}, {"user": "ann:with:colon"}, ("ann", "with:colon")),
        ({"ETCDCTL_USER": "root:pw"}, {}, ("root", "pw")),
        ({"ETCDCTL_USER": "root", "ETCDCTL_PASSWORD": "pw"}, {}, ("root", "pw")),
        ({"CLUSTERCTL_PASSWORD": "own", "ETCDCTL_PASSWORD": "other"}, {"user": "ann"}, ("ann", "own")),
        ({"ETCDCTL_PASSWORD": "nobody's"}, {}, (None, None)),
    ],
)
def test_user_and_password_come_together(
    environ: dict[str, str], flags: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    found = settings(environ, **flags).etcd
    assert (found.user, found.password) == expected


def test_a_user_never_gets_the_password_written_beside_anothers_name() -> None:
    with pytest.raises(UsageError, match="'ann' has no password"):
        settings({"ETCDCTL_USER": "root:secret"}, user="ann")


def test_a_password_file_wins_and_its_first_line_counts(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file\nsecond line\n")
    assert settings(user="ann:inline", password_file=str(file)).etcd.password == "from file"
    assert settings({"CLUSTERCTL_PASSWORD_FILE": str(file)}, user="ann").etcd.password == "from file"


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), ("", "is empty"), ("\nsecond", "is empty")])
def test_an_unusable_password_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=f"(?i){file}.*{message}"):
        settings(user="ann", password_file=str(file))


def test_a_person_is_asked_for_a_missing_password_only() -> None:
    asked: list[str] = []
    layers = Layers({"user": "ann"}, {})
    assert resolve(layers, ask=lambda user: asked.append(user) or "typed").etcd.password == "typed"
    resolve(Layers({"user": "ann:given"}, {}), ask=lambda user: asked.append(user) or "typed")
    assert asked == ["ann"]


def test_the_password_shows_nowhere() -> None:
    assert "secret" not in repr(settings(user="ann:secret"))


@pytest.mark.parametrize(
    ("environ", "flags", "message"),
    [
        ({"CLUSTERCTL_ENDPOINT": "x"}, {}, "CLUSTERCTL_ENDPOINT "),
        ({}, {"password_file": "f"}, "without a user"),
        ({}, {"user": ":pw"}, "no name"),
        ({}, {"timeout": "soon"}, "timeout 'soon'"),
        ({}, {"timeout": "0"}, "more than 0"),
        ({}, {"prefix": "no-slash"}, "prefix 'no-slash'"),
        ({}, {"cert": "c.pem"}, "both its certificate and its key"),
        ({}, {"endpoints": "ftp://x:1"}, "'ftp'"),
        ({}, {"endpoints": " , "}, "no etcd endpoint"),
    ],
)
def test_what_cannot_be_used_is_named(environ: dict[str, str], flags: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings(environ, **flags)


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_a_switch_in_the_environment(text: str, expected: bool) -> None:
    assert Layers({}, {"CLUSTERCTL_NO_COLOR": text}).switch("no_color") is expected


def test_a_switch_is_yes_or_no() -> None:
    with pytest.raises(UsageError, match="CLUSTERCTL_DEBUG is 'loud'"):
        Layers({}, {"CLUSTERCTL_DEBUG": "loud"}).switch("debug")
