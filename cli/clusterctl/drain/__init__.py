"""`clusterctl cordon`, `uncordon`, `drain`, `drain status` and `undrain`."""

from __future__ import annotations

from clusterctl.drain.command import drain
from clusterctl.drain.cordon import cordon, uncordon
from clusterctl.drain.undrain import undrain

__all__ = ["cordon", "drain", "uncordon", "undrain"]
