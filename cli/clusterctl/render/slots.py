"""Who owns how many slots, as table rows, as documents, and in a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clusterctl.balance import Balance, Departure, Holding
from clusterctl.render.fleet import state_style, state_text
from clusterctl.render.tables import Cell, Heading, Table
from clusterctl.render.text import plural

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class _Column:
    heading: Heading
    cell: Callable[[Holding, Balance], Cell]


def table(balance: Balance) -> Table:
    """Return the nodes as a person likes to read them, shares in percent."""
    return _table(balance, _PERCENT)


def exact_table(balance: Balance) -> Table:
    """Return the nodes as `-o tsv` has them: with the numbers of the document."""
    return _table(balance, _FRACTIONS)


def balance_document(balance: Balance) -> dict[str, Any]:
    """Return all that is known as JSON and YAML show it."""
    document: dict[str, Any] = {
        "revision": balance.revision,
        "slots": balance.total,
        "imbalance": _rounded(balance.imbalance),
        "nodes": node_documents(balance),
    }
    if balance.departure:
        document["without"] = _departure_document(balance.departure, balance.total)
    return document


def node_documents(balance: Balance) -> list[dict[str, Any]]:
    """Return each node with what it owns."""
    return [_node_document(holding, balance) for holding in balance.holdings]


def summary(balance: Balance) -> list[str]:
    """Return the lines that sum a table up."""
    parts = [
        plural(len(balance.holdings), "node"),
        f"{balance.total} slots",
        f"revision {balance.revision}",
        f"imbalance {_ratio(balance.imbalance)}" if balance.imbalance else "nobody owns a slot",
    ]
    lines = [", ".join(parts)]
    if balance.departure:
        lines.append(_departure_text(balance.departure, balance.total))
    return lines


def _departure_text(departure: Departure, total: int) -> str:
    share = _percent(departure.moved / total)
    moved = f"without {', '.join(departure.ids)}: {plural(departure.moved, 'slot')} would move, {share} of all"
    after = f"imbalance {_ratio(departure.imbalance)} after" if departure.imbalance else "nobody would own a slot"
    return f"{moved}, {departure.minimum} at least; {after}"


def _departure_document(departure: Departure, total: int) -> dict[str, Any]:
    return {
        "ids": list(departure.ids),
        "moved": departure.moved,
        "share": _rounded(departure.moved / total),
        "minimum": departure.minimum,
        "imbalance": _rounded(departure.imbalance),
    }


def _node_document(holding: Holding, balance: Balance) -> dict[str, Any]:
    node = holding.node
    document = {
        "id": node.id,
        "state": node.state.value,
        "foreign": node.foreign,
        "zone": node.zone,
        "weight": node.weight,
        "slots": holding.slots,
        "share": _rounded(holding.slots / balance.total),
        "fair_share": _rounded(holding.fair / balance.total),
        "ratio": _rounded(holding.ratio),
    }
    if departure := balance.departure:
        document |= {
            "gains": departure.gains.get(node.id, 0),
            "loses": departure.losses.get(node.id, 0),
            "slots_after": _after(holding, departure),
        }
    return document


def _after(holding: Holding, departure: Departure) -> int:
    node_id = holding.node.id
    return holding.slots + departure.gains.get(node_id, 0) - departure.losses.get(node_id, 0)


def _table(balance: Balance, shares: tuple[_Column, ...]) -> Table:
    columns = (*_NODE, *shares, *(_DEPARTURE if balance.departure else ()))
    return Table(
        [column.heading for column in columns],
        [[column.cell(holding, balance) for column in columns] for holding in balance.holdings],
    )


def _text(title: str, text: Callable[[Holding], str], style: Callable[[Holding], str] = lambda _: "") -> _Column:
    return _Column(Heading(title), lambda holding, _: Cell(text(holding), style(holding)))


def _number(title: str, text: Callable[[Holding, Balance], str]) -> _Column:
    return _Column(Heading(title, number=True), lambda holding, balance: Cell(text(holding, balance)))


def _moving(title: str, count: Callable[[Holding, Departure], int]) -> _Column:
    return _number(title, lambda holding, balance: str(count(holding, balance.departure)) if balance.departure else "")


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _exact(value: float | None) -> str:
    return "" if value is None else f"{value:.{_DIGITS}f}"


_NODE = (
    _text("NODE", lambda holding: holding.node.id, lambda _: "bold"),
    _text("STATE", lambda holding: state_text(holding.node), lambda holding: state_style(holding.node)),
    _text("ZONE", lambda holding: holding.node.zone),
    _number("WEIGHT", lambda holding, _: "" if holding.node.foreign else str(holding.node.weight)),
    _number("SLOTS", lambda holding, _: str(holding.slots)),
)
_PERCENT = (
    _number("SHARE", lambda holding, balance: _percent(holding.slots / balance.total)),
    _number("FAIR", lambda holding, balance: _percent(holding.fair / balance.total)),
    _number("RATIO", lambda holding, _: _ratio(holding.ratio)),
)
_FRACTIONS = (
    _number("SHARE", lambda holding, balance: _exact(holding.slots / balance.total)),
    _number("FAIR_SHARE", lambda holding, balance: _exact(holding.fair / balance.total)),
    _number("RATIO", lambda holding, _: _exact(holding.ratio)),
)
_DEPARTURE = (
    _moving("GAINS", lambda holding, departure: departure.gains.get(holding.node.id, 0)),
    _moving("LOSES", lambda holding, departure: departure.losses.get(holding.node.id, 0)),
    _moving("SLOTS_AFTER", _after),
)
