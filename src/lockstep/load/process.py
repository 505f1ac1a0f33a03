"""The conductor's end of the load process: settings and commands in, news out."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from lockstep.errors import Unavailable
from lockstep.load.settings import Command, LoadSettings

_LINE_BYTES_MAX: Final = 16 * 1024 * 1024
END_TIMEOUT_S: Final = 10


class LoadFailed(Unavailable):
    """The load process ended by itself, or did not answer."""

    code = "load.failed"
    hint = "it wrote why to standard error"


class LoadRefused(Unavailable):
    """The load could not do what it was asked for; `code` and `hint` are those of its fault."""

    def __init__(self, code: str, sentence: str, hint: str) -> None:
        """Carry what the load process said."""
        super().__init__(sentence)
        self.code = code  # type: ignore[misc]  # The load names it, so it is the instance's.
        self.hint = hint  # type: ignore[misc]  # The same.


class LoadProcess:
    """The load as a child process.

    Attributes:
        latest: The last progress it told.
        preparing: How far its preparation is: what, done, total.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self.latest: dict[str, Any] = {}
        self.preparing: dict[str, Any] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def start(self, settings: LoadSettings) -> None:
        """Start the process, in a session of its own so that Ctrl-C reaches the conductor first."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "lockstep.load.engine"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
            start_new_session=True,
        )
        self._write(msgspec.json.encode(settings))
        self._reading = asyncio.create_task(self._read())

    def command(self, name: str, **content: Any) -> None:
        """Send a command that is not answered."""
        self._write(msgspec.json.encode(Command(name, **content)))

    async def ask(
        self, name: str, answer: str, *, timeout_s: float, **content: Any
    ) -> dict[str, Any]:
        """Send a command and wait for the news called `answer`.

        Raises:
            LoadFailed: If the process ends, or the answer does not come in time.
        """
        if self.has_ended:
            raise LoadFailed("the load ended by itself")
        future = asyncio.get_running_loop().create_future()
        self._answers[answer] = future
        self.command(name, **content)
        try:
            async with asyncio.timeout(timeout_s):
                news: dict[str, Any] = await future
        except TimeoutError as fault:
            raise LoadFailed(f"the load did not answer {name!r} in {timeout_s:.0f} s") from fault
        return news

    async def end(self) -> None:
        """Close its input, at which it ends; end it by force where it does not."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reading is not None:
            await self._reading

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    @property
    def has_ended(self) -> bool:
        """Tell whether the process is gone."""
        return self._process is not None and self._process.returncode is not None

    def _write(self, line: bytes) -> None:
        if self._process is None or self._process.stdin is None:
            raise LoadFailed("the load is not running")
        self._process.stdin.write(line + b"\n")

    async def _read(self) -> None:
        async for line in self._lines():
            news = msgspec.json.decode(line, type=dict[str, Any])
            kind = news.pop("news")
            if kind == "progress":
                self.latest = news
            elif kind == "preparing":
                self.preparing = news
            elif (future := self._answers.pop(kind, None)) is not None and not future.done():
                future.set_result(news)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(LoadFailed("the load ended by itself"))

    async def _lines(self) -> AsyncIterator[bytes]:
        if self._process is not None and self._process.stdout is not None:
            while line := await self._process.stdout.readline():
                yield line
