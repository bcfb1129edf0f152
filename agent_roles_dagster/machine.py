"""The cores and the memory of this machine, or of the container that limits them."""

import os
import sys
from pathlib import Path

# Where Linux has a container's limits: control groups of version 2 and version 1.
_MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_CORES_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Cores that this process may use, at least one."""
    number = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if _CORES_LIMIT.is_file():
        quota, period = _CORES_LIMIT.read_text().split()
        if quota.isdigit():
            number = min(number, -(-int(quota) // int(period)))
    return max(number, 1)


def memory() -> int:
    """Bytes of the container's memory, or the machine's."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for file in _MEMORY_LIMITS:
        if file.is_file() and (limit := file.read_text().strip()).isdigit():
            total = min(total, int(limit))
    return total
