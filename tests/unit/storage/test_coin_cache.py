"""The coin cache is bounded, keeps what is used, and takes its size from free memory alone."""

from pathlib import Path

import pytest

from lockstep.ledger.coins import Coin
from lockstep.primitives.codec import encode
from lockstep.storage.coin_cache import ENTRY_BYTES, CoinCache
from lockstep.storage.memory import available_bytes, cache_bytes

MEBIBYTE = 1024 * 1024


def coin(number: int) -> Coin:
    return Coin(amount=number, lock=bytes(32), height=number)


def outpoint(number: int) -> bytes:
    return number.to_bytes(36, "big")


def test_bound_holds_and_used_coins_stay() -> None:
    cache = CoinCache(100 * ENTRY_BYTES)
    for number in range(1000):
        cache.add(outpoint(number), encode(coin(number)))
        assert cache.find(outpoint(0)) == coin(0)
        assert len(cache) <= 100
    assert cache.find(outpoint(500)) is None
    assert cache.find(outpoint(999)) == coin(999)


def test_spent_coin_is_gone_from_both_generations() -> None:
    cache = CoinCache(4 * ENTRY_BYTES)
    for number in range(4):
        cache.add(outpoint(number), encode(coin(number)))
    cache.forget(map(outpoint, range(4)))
    assert [cache.find(outpoint(n)) for n in range(4)] == [None] * 4


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def meminfo(mebibytes: int) -> dict[str, str]:
    text = f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: {mebibytes * 1024} kB\n"
    return {"proc/meminfo": text}


@pytest.mark.parametrize(
    ("available", "expected"), [(0, 32), (100, 32), (1000, 100), (4000, 400), (64_000, 512)]
)
def test_tenth_of_available_memory_within_bounds(
    tmp_path: Path, available: int, expected: int
) -> None:
    assert cache_bytes(plant(tmp_path, meminfo(available))) == expected * MEBIBYTE


def test_limit_of_control_group_2_is_respected_at_every_level(tmp_path: Path) -> None:
    files = {
        **meminfo(8000),
        "proc/self/cgroup": "0::/outer/inner\n",
        "sys/fs/cgroup/outer/memory.max": f"{2000 * MEBIBYTE}\n",
        "sys/fs/cgroup/outer/memory.current": f"{500 * MEBIBYTE}\n",
        "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        "sys/fs/cgroup/outer/inner/memory.current": "5\n",
    }
    assert available_bytes(plant(tmp_path, files)) == 1500 * MEBIBYTE


def test_limit_of_control_group_1_is_respected(tmp_path: Path) -> None:
    files = {
        **meminfo(8000),
        "proc/self/cgroup": "9:memory:/box\n3:cpu,cpuacct:/box\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{700 * MEBIBYTE}\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": f"{900 * MEBIBYTE}\n",
    }
    assert available_bytes(plant(tmp_path, files)) == 0


def test_unknown_memory_means_the_smallest_cache(tmp_path: Path) -> None:
    assert cache_bytes(tmp_path) == 32 * MEBIBYTE
