"""The daemon's log: lines for a person, or JSON objects for a machine, on stderr."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import msgspec

from clusterd.escape import printable

_encode = msgspec.json.Encoder().encode


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING clusterd.session: lost`; control characters are escaped, one line an entry."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_time(record)} {record.levelname:<7} {record.name}: {_message(self, record)}"
        return printable(text)


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (RFC 3339), `level`, `logger`, `message`, `node`."""

    def __init__(self, node: str) -> None:
        super().__init__()
        self._node = node

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(self, record).encode("utf-8", "backslashreplace").decode(),
            "node": self._node,
        }
        return _encode(entry).decode()


def set_up(form: Literal["text", "json"], level: str, node: str) -> None:
    """Send clusterd's log to stderr in that form; other libraries' from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(node) if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("clusterd").setLevel(level.upper())
    logging.captureWarnings(True)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _message(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    message = record.getMessage()
    return f"{message}\n{formatter.formatException(record.exc_info)}" if record.exc_info else message
