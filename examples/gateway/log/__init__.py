"""The durable log of messages: one interface, an SQLite file of the node's own, or Redis Streams for the fleet."""

from __future__ import annotations

from examples.gateway.log.base import Exported, Head, Limits, LogEntry, MessageLog, Outcome, Slice
from examples.gateway.log.opening import open_log

__all__ = ["Exported", "Head", "Limits", "LogEntry", "MessageLog", "Outcome", "Slice", "open_log"]
