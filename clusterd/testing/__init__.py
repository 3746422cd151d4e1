"""Real etcds, and what can befall them: for the tests of clusterd and of gateways that embed it (docs/testing.md).

Needs the extra `testing` (`pip install 'clusterd[testing]'`), which also brings pytest fixtures. What needs more than
that stands apart: certificates in `clusterd.testing.certs`, partitions in `clusterd.testing.netns` (Linux, root),
containers in `clusterd.testing.containers` (Docker).
"""

from __future__ import annotations

from clusterd.testing.admin import AdminError, EtcdAdmin, KeyValue
from clusterd.testing.agent import AgentProcess
from clusterd.testing.binaries import EtcdBinary, etcd_binaries
from clusterd.testing.cluster import EtcdCluster, EtcdServer, newest_etcd
from clusterd.testing.proxy import TcpProxy
from clusterd.testing.recording import Record, Recorder, disagreements, read_history
from clusterd.testing.tools import ToolFailed
from clusterd.testing.waiting import eventually, never

__all__ = [
    "AdminError",
    "AgentProcess",
    "EtcdAdmin",
    "EtcdBinary",
    "EtcdCluster",
    "EtcdServer",
    "KeyValue",
    "Record",
    "Recorder",
    "TcpProxy",
    "ToolFailed",
    "disagreements",
    "etcd_binaries",
    "eventually",
    "never",
    "newest_etcd",
    "read_history",
]
