"""The daemon's log: one line an entry, for a person or a machine, whatever is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clusterd.escape import is_plain
from clusterd.sidecar import logs
from clusterd.sidecar.logs import JsonFormatter, TextFormatter

CREATED = 1_769_860_800.1234  # 2026-01-31T12:00:00.123Z


def entry(
    message: str, *args: object, level: int = logging.WARNING, error: Exception | None = None
) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("clusterd.session", level, __file__, 1, message, args, info)
    record.created = CREATED
    return record


def test_a_line_has_time_level_logger_and_message() -> None:
    text = TextFormatter().format(entry("session: %s", "lost"))
    assert text == "2026-01-31T12:00:00.123Z WARNING clusterd.session: session: lost"


def test_an_object_has_the_same_and_the_node() -> None:
    assert json.loads(JsonFormatter("gw-1").format(entry("session: %s", "lost"))) == {
        "time": "2026-01-31T12:00:00.123Z",
        "level": "warning",
        "logger": "clusterd.session",
        "message": "session: lost",
        "node": "gw-1",
    }


@given(st.text())
@example("a\nb")
@example("\x1b[2J")
@example("\u2028")
@example("\udcff")
def test_any_message_is_one_line_without_control_characters(message: str) -> None:
    line = TextFormatter().format(entry("%s", message))
    assert line.isprintable()
    assert line.endswith(message) or not is_plain(message)
    text = JsonFormatter("gw-1").format(entry("%s", message))
    assert "\n" not in text
    text.encode()
    if not any("\ud800" <= char <= "\udfff" for char in message):
        assert json.loads(text)["message"] == message


def failed() -> Exception:
    try:
        {}["gone"]
    except KeyError as error:
        return error
    raise AssertionError("unreachable")


def test_a_traceback_stays_with_its_entry() -> None:
    line = TextFormatter().format(entry("failed", error=failed()))
    assert line.isprintable()
    assert "failed\\nTraceback" in line
    assert line.endswith("KeyError: 'gone'")
    message = json.loads(JsonFormatter("gw-1").format(entry("failed", error=failed())))["message"]
    assert message.startswith("failed\nTraceback")


@contextmanager
def nothing_set_up() -> Iterator[None]:
    """Take off what pytest put on the root logger, and put it back."""
    root, ours = logging.getLogger(), logging.getLogger("clusterd")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    root.handlers.clear()
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = handlers
        root.setLevel(level)
        ours.setLevel(our_level)


def test_ours_are_logged_from_the_level_asked_for_and_others_from_warnings_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with nothing_set_up():
        logs.set_up("text", "info", "gw-1")
        logging.getLogger("clusterd.mirror").info("ours")
        logging.getLogger("clusterd.mirror").debug("too fine")
        logging.getLogger("aiohttp").info("theirs")
        logging.getLogger("aiohttp").warning("their warning")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rsplit(": ", 1)[1] for line in err.splitlines()] == ["ours", "their warning"]


def test_a_machine_gets_objects(capsys: pytest.CaptureFixture[str]) -> None:
    with nothing_set_up():
        logs.set_up("json", "debug", "gw-1")
        logging.getLogger("clusterd").debug("fine")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "fine"
