"""One fenced write of a leader, and what came of it."""

from __future__ import annotations

from clusterd import Deposed, Term
from clusterd.etcd.errors import EtcdError


async def write(term: Term, key: str, text: str) -> str:
    """Write once; return whether that "landed", was "refused", or that it is "unknown"."""
    try:
        await term.put(key, text.encode())
    except Deposed:
        return "refused"
    except EtcdError:
        return "unknown"
    return "landed"
