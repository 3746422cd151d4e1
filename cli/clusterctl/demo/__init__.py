"""`clusterctl demo`: what clusterd does, played with real processes on this host."""

from __future__ import annotations

from clusterctl.demo.command import demo

__all__ = ["demo"]
