"""One masternode as a process of its own: start, stop and kill it, count what it used."""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep.devnet.place import NODE_RUNTIME_FILE
from lockstep.errors import Unavailable

POLL_S: Final = 0.05
STOP_TIMEOUT_S: Final = 15
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class NodeFailed(Unavailable):
    """A node process did not come up, or ended by itself."""

    code = "devnet.node_failed"
    hint = "the node's log has more"


class Usage(Struct):
    """What a node's processes used, by the system's accounting, over all its restarts."""

    cpu_us_before: int = 0
    cpu_us: int = 0
    rss_bytes_max: int = 0

    @property
    def cpu_us_total(self) -> int:
        """Return the processor time of all incarnations in microseconds."""
        return self.cpu_us_before + self.cpu_us


class NodeProcess:
    """One node of the devnet; owned by the conductor, which alone starts and ends it.

    Attributes:
        index: The node's number, from 0.
        directory: Its data directory.
        is_wanted: Whether the process should be running now; an exit while it should is a fault.
        usage: What it used so far.
        verify_backend: What it verifies signatures with; empty before it was up.
    """

    def __init__(
        self,
        index: int,
        directory: Path,
        received: Path | None,
        *,
        verify_backend: str | None = None,
    ) -> None:
        """Describe a node; `received` is where it records what peers send, for a judge if any.

        `verify_backend` goes before the node's own setting, which None leaves alone.
        """
        self.index = index
        self.directory = directory
        self.is_wanted = False
        self.usage = Usage()
        self.verify_backend = ""
        self._flags: tuple[str, ...] = () if received is None else ("--record", str(received))
        if verify_backend is not None:
            self._flags += ("--verify-backend", verify_backend)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def is_running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of a process that has ended, None for one that has not."""
        return None if self._process is None else self._process.returncode

    @property
    def runtime_path(self) -> Path:
        """Return the file in which the running node says its ports."""
        return self.directory / NODE_RUNTIME_FILE

    async def start(self) -> None:
        """Start the process, in a session of its own so that Ctrl-C reaches the devnet first."""
        log = self.directory / "log"
        log.mkdir(exist_ok=True)
        with (log / "console.log").open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *self._program(),
                *("node", "--dir", str(self.directory)),
                *self._flags,
                env=_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.is_wanted = True

    def _program(self) -> list[str]:
        """Return how to start the program; a test may start it in its own way."""
        return [sys.executable, "-P", "-m", "lockstep"]

    async def wait_up(self, *, timeout_s: float) -> dict[str, Any]:
        """Wait until the node has written its runtime file, and return its content.

        Raises:
            NodeFailed: If it ends, or is not up in time.
        """
        deadline = time.monotonic() + timeout_s
        while self._process is not None and time.monotonic() < deadline:
            if self._process.returncode is not None:
                raise NodeFailed(self.describe_exit())
            if (content := self._read_runtime()) is not None:
                self.verify_backend = content["verify_backend"]
                return content
            await asyncio.sleep(POLL_S)
        raise NodeFailed(
            f"node {self.index} is not up after {timeout_s:.0f} s: {self.last_words()}"
        )

    def _read_runtime(self) -> dict[str, Any] | None:
        try:
            content = msgspec.json.decode(self.runtime_path.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.DecodeError):
            return None
        # One left over by a killed process names another pid.
        alive = self._process is not None and content.get("pid") == self._process.pid
        return content if alive else None

    def terminate(self) -> None:
        """Ask the process for an orderly stop."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self.is_wanted = False
        self.sample()
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def wait_exit(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int | None:
        """Wait until the process has ended; return its exit code, None if it had to be killed."""
        if self._process is None:
            return 0
        try:
            async with asyncio.timeout(timeout_s):
                code = await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
            return None
        finally:
            self.usage.cpu_us_before += self.usage.cpu_us
            self.usage.cpu_us = 0
        return code

    def sample(self) -> None:
        """Read the system's accounting of the process; where there is none, nothing is counted."""
        if self._process is None or self._process.returncode is not None:
            return
        place = Path("/proc") / str(self._process.pid)
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            pages = int((place / "statm").read_text().split()[1])
        except (OSError, IndexError):
            return
        self.usage.cpu_us = (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS
        self.usage.rss_bytes_max = max(self.usage.rss_bytes_max, pages * _PAGE_BYTES)

    def describe_exit(self) -> str:
        """Say in one sentence how the process ended, with its last words."""
        return f"node {self.index} ended with exit code {self.exit_code}: {self.last_words()}"

    def last_words(self) -> str:
        """Return the last line the node wrote, to its console or else to its log."""
        for name in ("console.log", "node.log"):
            try:
                data = (self.directory / "log" / name).read_bytes()[-65536:]
            except OSError:
                continue
            if lines := data.decode("utf-8", "replace").strip().splitlines():
                return lines[-1][:500]
        return "it wrote nothing"


def _environment() -> dict[str, str]:
    """Return the environment without settings of ours, which are meant for a node by itself."""
    return {name: text for name, text in os.environ.items() if not name.startswith("LOCKSTEP_")}
