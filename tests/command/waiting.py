"""Whether another process is still there."""

from __future__ import annotations

import psutil


def runs(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
