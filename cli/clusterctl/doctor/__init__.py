"""`clusterctl doctor`: what is wrong with etcd and the way to it, and what to do about it."""

from __future__ import annotations

from clusterctl.doctor.command import doctor

__all__ = ["doctor"]
