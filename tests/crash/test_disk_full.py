"""A real node whose disk fills up: it signs nothing more, stays readable, and goes on by itself.

Twice: on a small file system of its own, and under a limit on the size of files, at which writes
fail half-way through.
"""

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crash.storm import CATCH_UP_S_MAX, POLL_S, ArmedNode, Storm, choose_seed
from lockstep.client.faults import RpcError
from lockstep.storage.directory import RESERVE_SHARE

DISK_BYTES = 24 << 20
RESERVE_BYTES = DISK_BYTES // RESERVE_SHARE
FULL_S_MAX = 20.0
STANDSTILL_S = 1.0


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Let the directory be a small file system of its own, with the same content."""
    kept = place.with_name("kept")
    shutil.move(place, kept)
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(place)]
    told = subprocess.run(mount, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        sentence = f"a small disk needs the right to mount: {told.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    try:
        shutil.copytree(kept, place, dirs_exist_ok=True)
        yield
    finally:
        # What it held is needed by the judge, who comes after.
        shutil.rmtree(kept)
        shutil.copytree(place, kept)
        subprocess.run(["umount", str(place)], check=True)
        place.rmdir()
        shutil.move(kept, place)


class Watch:
    """One node of a storm, seen through its RPC."""

    def __init__(self, storm: Storm, node: ArmedNode) -> None:
        self._storm = storm
        self._node = node

    def reasons(self) -> list[str]:
        """Return why the node is not ready."""
        with self._storm.client(self._node) as client:
            status, body = client.get("/readyz")
            reasons = [row["code"] for row in msgspec.json.decode(body)["reasons"]]
            assert (status == 503) == bool(reasons)
            return reasons

    def call(self, method: str, *params: Any) -> Any:
        """Return what the node answers."""
        with self._storm.client(self._node) as client:
            return client.call(method, *params)

    def height(self) -> int | None:
        """Return the height of the last block, which can be read; None where reading is refused.

        That is so where a write was under way: nothing is told that is not on the disk.
        """
        try:
            height = self.call("getblockcount")
            assert self.call("getblock", self.call("getblockhash", height))["height"] == height
        except RpcError as fault:
            if fault.code != "node.disk_full":
                raise
            return None
        return int(height)

    async def until(self, condition: Callable[[], bool], limit_s: float) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + limit_s
        while not await asyncio.to_thread(condition):
            assert time.monotonic() < end, await asyncio.to_thread(self.reasons)
            await asyncio.sleep(POLL_S)


async def go_through(
    storm: Storm, node: ArmedNode, fill: Callable[[], None], free: Callable[[], None]
) -> bool:
    """Fill the node's disk, see that it stands still, free it, see it come back.

    Returns whether it could be read meanwhile.
    """
    watch, other = Watch(storm, node), Watch(storm, storm.nodes[0])
    fill()
    await watch.until(lambda: "disk_full" in watch.reasons(), FULL_S_MAX)
    await asyncio.sleep(STANDSTILL_S)
    height = watch.height()
    goal = other.call("getblockcount") + 4
    await other.until(lambda: other.call("getblockcount") >= goal, FULL_S_MAX)
    assert "disk_full" in watch.reasons()
    assert watch.height() == height
    with pytest.raises(RpcError) as refused:
        watch.call("sendrawtransaction", "00")
    assert refused.value.code == "node.disk_full"
    free()
    await watch.until(lambda: (watch.height() or 0) >= goal and not watch.reasons(), CATCH_UP_S_MAX)
    return height is not None


def run_under(storm: Storm, harm: Callable[[], Awaitable[None]], cycles: int) -> None:
    facts = storm.run_under(harm)
    sys.stdout.write(f"{storm.describe(facts)} cycles of a full disk={cycles}\n")
    assert facts["broken"] == []
    assert facts["closing_blocks"] > cycles


def run_small_disk(directory: Path, *, cycles: int) -> None:
    storm = Storm(directory, seed=choose_seed())
    node = storm.nodes[3]
    ballast = node.directory / "ballast"

    def fill(left_bytes: int) -> None:
        disk = os.statvfs(node.directory)
        with suppress(OSError):  # The node may have taken the last of it.
            ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - left_bytes)))

    async def harm() -> None:
        for number in range(cycles):
            # Slowly, so that the node notices in time, or suddenly to the last byte.
            left_bytes = 0 if number % 3 == 2 else RESERVE_BYTES - (4 << 10)
            was_read = await go_through(storm, node, partial(fill, left_bytes), ballast.unlink)
            readable.append(was_read)

    readable: list[bool] = []
    with small_disk(node.directory):
        run_under(storm, harm, cycles)
    assert readable.count(True) >= cycles // 2


@pytest.mark.alone
def test_a_small_disk_fills_up_and_is_freed(tmp_path: Path) -> None:
    run_small_disk(tmp_path / "net", cycles=3)


@pytest.mark.long
def test_a_small_disk_fills_up_fifty_times(tmp_path: Path) -> None:
    run_small_disk(tmp_path / "net", cycles=50)


@pytest.mark.alone
def test_writes_that_fail_half_way_are_made_again(tmp_path: Path) -> None:
    storm = Storm(tmp_path / "net", seed=choose_seed())
    node = storm.nodes[2]

    def limit(size: int) -> None:
        process = node._process
        assert process is not None
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def fill() -> None:
        limit((node.directory / "chain" / "data.mdb").stat().st_size + 9_000)

    async def harm() -> None:
        for _ in range(2):
            await go_through(storm, node, fill, lambda: limit(resource.RLIM_INFINITY))

    run_under(storm, harm, 2)
