"""The flags of `clusterctl drain`, read and checked before anything else happens."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from clusterctl.durations import parse_duration, parse_span
from clusterctl.render.text import printable
from clusterctl.selectors import Selection, parse_labels
from clusterd.drain import Limit, OnDeadline
from clusterd.drain.intent import deadline_from
from clusterd.errors import UsageError
from clusterd.keys import check_node_id

_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/(s|m|h))?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
NONE = "none"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a drain is to go; spans in seconds, `deadline` from the moment at which it begins, limits as written."""

    rate: float | None = None
    over: float | None = None
    settle: float = 10.0
    deadline: float | None = None
    on_deadline: OnDeadline = OnDeadline.KEEP
    max_unavailable: str | None = None
    min_active: str | None = None

    def fields(self) -> dict[str, Any]:
        """Return them as `make_drain` takes them."""
        return {name: getattr(self, name) for name in self.__slots__}


def parse_terms(flags: Mapping[str, str | None], now: datetime) -> Terms:
    """Return the terms that the flags mean. Raises `UsageError` for what can't be, or contradicts itself."""
    if flags["rate"] is not None and flags["over"] is not None:
        raise UsageError("--rate and --over contradict each other: give one of them")
    deadline = parse_deadline(flags["deadline"], now)
    if flags["on_deadline"] is not None and deadline is None:
        raise UsageError("--on-deadline without a --deadline never comes to anything: give both")
    return Terms(
        rate=None if flags["rate"] is None else parse_rate(flags["rate"]),
        over=None if flags["over"] is None else parse_duration(flags["over"], "--over"),
        settle=parse_span(flags["settle"] or "10s", "--settle"),
        deadline=deadline,
        on_deadline=OnDeadline(flags["on_deadline"] or OnDeadline.KEEP),
        max_unavailable=_limit(flags["max_unavailable"], "--max-unavailable"),
        min_active=_limit(flags["min_active"], "--min-active"),
    )


def parse_changes(flags: Mapping[str, str | None], now: datetime) -> dict[str, Any]:
    """Return what of a drain's terms is to change, as `Intent.changed` takes it; `none` takes a term away.

    Raises `UsageError` for what can't be, contradicts itself, or is nothing.
    """
    given = {name: text for name, text in flags.items() if text is not None}
    if not given:
        raise UsageError("change what? Give --rate, --over, --settle, --deadline, --on-deadline, a limit or -m")
    if given.keys() >= {"rate", "over"}:
        raise UsageError("--rate and --over contradict each other: give one of them")
    if given.get("deadline") == NONE and "on_deadline" in given:
        raise UsageError("--on-deadline without a --deadline never comes to anything")
    return {name: _change(name, text, now) for name, text in given.items()}


def _change(name: str, text: str, now: datetime) -> Any:
    if text == NONE and name in ("rate", "over", "deadline", "max_unavailable", "min_active"):
        return None
    if name == "deadline":
        seconds = parse_deadline(text, now)
        return None if seconds is None else deadline_from(now, seconds)
    flag = f"--{name.replace('_', '-')}"
    read: dict[str, Callable[[str], Any]] = {
        "rate": parse_rate,
        "over": lambda text: parse_duration(text, flag),
        "settle": lambda text: parse_span(text, flag),
        "on_deadline": OnDeadline,
        "max_unavailable": lambda text: _limit(text, flag),
        "min_active": lambda text: _limit(text, flag),
    }
    return read.get(name, str)(text)


def parse_rate(text: str) -> float:
    """Return the sessions a second of `500/s`, `500` or `30/m`; raises `UsageError`."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--rate {printable(text)!r} is not a pace: give it like 500/s or 30/m")
    rate = float(match[1]) / _SECONDS[match[2] or "s"]
    if not 0 < rate <= 1e6:
        raise UsageError(f"--rate {text!r} is out of range: give more than 0, at most 1000000/s")
    return rate


def parse_deadline(text: str | None, now: datetime) -> float | None:
    """Return the seconds to a deadline, given as a span or as a moment; None for none. Raises `UsageError`."""
    if text is None or text == NONE:
        return None
    moment = _moment(text)
    if moment is None:
        return parse_duration(text, "--deadline")
    if moment <= now:
        raise UsageError(f"--deadline {text} is in the past")
    return (moment - now).total_seconds()


def parse_selection(
    ids: tuple[str, ...], labels: tuple[str, ...], zone: str | None, *, everything: bool
) -> Selection | None:
    """Return which nodes are meant, None for all. Raises `UsageError`: nothing given never means everything."""
    given = [name for name, there in (("IDs", ids), ("-l", labels), ("--zone", zone is not None)) if there]
    if everything and given:
        raise UsageError(f"--all and {' and '.join(given)} don't go together")
    if not (everything or given):
        raise UsageError("drain what? Give IDs, -l, --zone or --all: an empty selection never means everything")
    if ids and len(given) > 1:
        raise UsageError(f"{' and '.join(given)} don't go together: IDs say which nodes")
    if zone == "":
        raise UsageError("--zone is empty: give the name of a zone")
    if everything:
        return None
    return Selection(tuple(check_node_id(node_id) for node_id in dict.fromkeys(ids)), parse_labels(labels), zone)


def _limit(text: str | None, name: str) -> str | None:
    return None if text is None else str(Limit.parse(text, name))


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if "-" not in text or moment.tzinfo is None:
        raise UsageError(f"--deadline {text!r} is not usable: give it like 10m, or 2026-01-31T12:00:00+00:00")
    return moment
