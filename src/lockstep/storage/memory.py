"""How much memory is available to this process; nothing else is probed."""

from pathlib import Path
from typing import Final

_MEBIBYTE: Final = 1024 * 1024
CACHE_BYTES_MIN: Final = 32 * _MEBIBYTE
"""The coin cache is never smaller."""
CACHE_BYTES_MAX: Final = 512 * _MEBIBYTE
"""The coin cache is never larger."""
CACHE_SHARE: Final = 10
"""The cache takes one tenth of what is available."""


def cache_bytes(root: Path = Path("/")) -> int:
    """Return the size of the coin cache: 10 % of available memory, between 32 and 512 MiB."""
    available = available_bytes(root)
    return min(max(available // CACHE_SHARE, CACHE_BYTES_MIN), CACHE_BYTES_MAX)


def available_bytes(root: Path = Path("/")) -> int:
    """Return the bytes this process may still take, the cgroup's limit respected; 0 if unknown."""
    free = [bytes_ for bytes_ in (_of_machine(root), *_of_groups(root)) if bytes_ is not None]
    return max(0, min(free, default=0))


def _of_machine(root: Path) -> int | None:
    for line in _read(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _of_groups(root: Path) -> list[int | None]:
    """Return what each control group above this process leaves free, version 1 and 2."""
    free: list[int | None] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            mount, limit, used = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            mount = "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        places = (group, *group.parents)
        free.extend(_left(root / mount / place, limit, used) for place in places)
    return free


def _left(group: Path, limit: str, used: str) -> int | None:
    most, now = _read(group / limit).strip(), _read(group / used).strip()
    return int(most) - int(now) if most.isdigit() and now.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
