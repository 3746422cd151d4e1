"""`clusterctl auth plan` and `auth apply`: the users and roles that a fleet needs in etcd."""

from __future__ import annotations

from clusterctl.auth.command import auth

__all__ = ["auth"]
