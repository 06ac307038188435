"""Work on a Ray cluster: actors that decode, encode and classify clips; what crosses the network is never a frame.

`extraction` and `prediction` are imported by those who need them: they load PyTorch, and an actor starts with this.
"""

from __future__ import annotations

from marey.cluster.connection import Connection, check_on, connect
from marey.cluster.pool import Crashed, Pool, Share
from marey.cluster.worker import Work

__all__ = ["Connection", "Crashed", "Pool", "Share", "Work", "check_on", "connect"]
