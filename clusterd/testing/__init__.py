"""Real etcds, and what can befall them: for the tests of clusterd and of gateways that embed it.

Needs the extra `testing` (`pip install 'clusterd[testing]'`). Certificates are in `clusterd.testing.certs`.
"""

from __future__ import annotations

from clusterd.testing.admin import AdminError, EtcdAdmin, KeyValue
from clusterd.testing.agent import AgentProcess
from clusterd.testing.binaries import EtcdBinary, etcd_binaries
from clusterd.testing.cluster import EtcdCluster, EtcdServer, newest_etcd
from clusterd.testing.proxy import TcpProxy
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
    "TcpProxy",
    "ToolFailed",
    "etcd_binaries",
    "eventually",
    "never",
    "newest_etcd",
]
