"""One node as the load sees it: calls to its RPC, and its notices, recorded for the judge."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep.client.async_client import RpcClient
from lockstep.devnet.ports import HOST
from lockstep.errors import LockstepError

RECONNECT_S: Final = 0.1
CALL_TIMEOUT_S: Final = 20
KINDS: Final = ("final", "dropped", "block_transactions", "block", "alarm")


class StationSettings(Struct, frozen=True):
    """Where a node is, and where its notices are recorded."""

    index: int
    rpc_port: int
    cookie: str
    notices: str


class Station:
    """A node's connection; owned by the load.

    Attributes:
        index: The node's number.
        is_up: Whether its notices arrive now; what is sent while they do not, could not be timed.
        height: The last height it reported.
        alarms, overruns: What must not happen, and did.
    """

    def __init__(
        self,
        settings: StationSettings,
        *,
        on_final: Callable[[int, Sequence[str]], None],
        on_lost: Callable[[int], None],
    ) -> None:
        """Prepare to listen; `on_final` and `on_lost` are told this node's index."""
        self.index = settings.index
        self.is_up = False
        self.height = 0
        self.alarms: list[str] = []
        self.overruns = 0
        self._on_final = on_final
        self._on_lost = on_lost
        self._client = RpcClient(
            HOST, settings.rpc_port, Path(settings.cookie), timeout_s=CALL_TIMEOUT_S
        )
        self._notices = Path(settings.notices).open("ab")  # noqa: SIM115  # Closed in `close`.
        self.call = self._client.call
        self.submit = self._client.submit
        self.pages = self._client.pages

    async def close(self) -> None:
        """Close the connections and the recording."""
        await self._client.close()
        self._notices.close()

    async def listen(self) -> None:
        """Take the node's notices for as long as the load runs, through any number of restarts."""
        while True:
            # A node that stops or is killed is listened to again as soon as it is back.
            with suppress(LockstepError):
                async for event in self._client.events(*KINDS, confirms=True):
                    self._hear(event)
            if self.is_up:
                self.is_up = False
                self._on_lost(self.index)
            await asyncio.sleep(RECONNECT_S)

    def _hear(self, event: dict[str, Any]) -> None:
        self._notices.write(msgspec.json.encode(event) + b"\n")
        match event["event"]:
            case "subscribed":
                self.is_up = True
                self.height = event["height"]
            case "final" | "block_transactions":
                self._on_final(self.index, event["txids"])
            case "block":
                self.height = event["height"]
            case "alarm":
                self.alarms.append(f"node {self.index}: {event['message']} ({event['code']})")
            case "overrun":
                self.overruns += 1
