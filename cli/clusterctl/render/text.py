"""Text that can be shown safely, whoever wrote it to etcd."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from clusterd.escape import is_plain, printable

__all__ = ["parse_time", "plural", "printable", "printable_bytes", "printable_json", "size", "timestamp"]

_UNITS = ("B", "kB", "MB", "GB")


def printable_bytes(value: bytes, limit: int) -> str:
    """Return bytes as safe text, cut to `limit` bytes with a word on how many there are."""
    text = printable(value[:limit].decode("utf-8", "backslashreplace"))
    return text if len(value) <= limit else f"{text}… ({len(value)} bytes)"


def printable_json(text: str) -> str:
    r"""Return a JSON text with unprintable characters as `\u` escapes: the same document, safe at a terminal."""
    return _UNPRINTABLE.sub(_json_escape, text)


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits: `20 kB`."""
    value = float(count)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"


def plural(count: int, noun: str) -> str:
    """Return `1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def parse_time(text: str) -> datetime | None:
    """Return an RFC 3339 time; None where it isn't one. One without an offset counts as UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def timestamp(time: datetime) -> str:
    """Return a time as `2030-01-02T03:04:05.678Z`, in UTC."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_time(text: str) -> str:
    """Return an RFC 3339 time as a clock on the wall has it, to the second; the text itself where none has."""
    try:
        time = parse_time(text)
        return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else text
    except (OverflowError, ValueError, OSError):  # the first and the last day that there is
        return text


# Outside strings a JSON text has no unprintable characters but the newlines that indent it.
_UNPRINTABLE = re.compile(r"[^\n -~]")


def _json_escape(match: re.Match[str]) -> str:
    character = match[0]
    if is_plain(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
