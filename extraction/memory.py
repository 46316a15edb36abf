"""What a process holds, and whether the kernel has killed for memory."""

import os

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MiB; 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES / (1 << 20)
    except (OSError, IndexError):
        return 0.0


def num_threads(pid: int) -> int:
    """Threads of a process; 0 where it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def oom_kills() -> int:
    """Processes that the kernel has killed for memory since it booted, for the limit of a container too.

    ``oom_kill`` in /proc/vmstat (Linux 4.13), of the whole machine; 0 where that cannot be read.
    """
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    except (OSError, ValueError):
        pass
    return 0
