"""`clusterctl leader`: who leads, who waits; and making a leader give its office up."""

from __future__ import annotations

from clusterctl.leader.command import leader

__all__ = ["leader"]
