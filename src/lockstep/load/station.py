"""One node as the load sees it: calls to its RPC, and its notices, recorded for a judge."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from lockstep.client.async_client import RpcClient
from lockstep.client.envelope import SubmitAnswer
from lockstep.errors import LockstepError

RECONNECT_S: Final = 0.1
CALL_TIMEOUT_S: Final = 20
OnFinal = Callable[[int, Sequence[str]], None]
KINDS: Final = ("final", "dropped", "block_transactions", "block", "alarm")


class StationSettings(Struct, frozen=True):
    """Where a node is, and where its notices are recorded; nowhere if that is empty."""

    index: int
    host: str
    rpc_port: int
    cookie: str
    notices: str = ""


class Station:
    """A node's connection; owned by the load.

    Attributes:
        index: The node's number.
        is_up: Whether its notices arrive now; what is sent while they do not, could not be timed.
        height: The last height it reported.
        fault: Why its notices do not arrive, while they do not.
        alarms, overruns: What must not happen, and did.
    """

    def __init__(
        self, settings: StationSettings, *, connections: int, is_binary: bool = True
    ) -> None:
        """Prepare to listen, and to submit by so many clients, in binary or by JSON-RPC."""
        self.index = settings.index
        self.is_up = False
        self.height = 0
        self.fault = "it has not answered yet"
        self.alarms: list[str] = []
        self.overruns = 0
        self._clients = [
            RpcClient(
                settings.host, settings.rpc_port, Path(settings.cookie), timeout_s=CALL_TIMEOUT_S
            )
            for _ in range(connections)
        ]
        self._is_binary = is_binary
        self._turn = 0
        self._notices = (
            Path(settings.notices).open("ab")  # noqa: SIM115  # Closed in `close`.
            if settings.notices
            else None
        )
        self.call = self._clients[0].call
        self.pages = self._clients[0].pages

    async def submit(self, transactions: Sequence[bytes]) -> list[SubmitAnswer]:
        """Submit encoded payments by the next client in turn."""
        self._turn = (self._turn + 1) % len(self._clients)
        client = self._clients[self._turn]
        if self._is_binary:
            return await client.submit_encoded(transactions)
        return await client.submit(transactions)

    async def close(self) -> None:
        """Close the connections and the recording."""
        for client in self._clients:
            await client.close()
        if self._notices is not None:
            self._notices.close()

    async def listen(self, *, on_final: OnFinal, on_lost: Callable[[int], None]) -> None:
        """Take the node's notices for as long as the load runs, through any number of restarts.

        `on_final` and `on_lost` are told this node's index.
        """
        # The Confirms behind finality are for the judge alone.
        confirms = self._notices is not None
        while True:
            # A node that stops or is killed is listened to again as soon as it is back.
            try:
                async for event in self._clients[0].events(*KINDS, confirms=confirms):
                    self._hear(event, on_final)
            except LockstepError as fault:
                self.fault = str(fault)
            if self.is_up:
                self.is_up = False
                on_lost(self.index)
            await asyncio.sleep(RECONNECT_S)

    async def is_final(self, txid: str) -> bool:
        """Ask the node whether a payment is final; what does not answer says no."""
        with suppress(LockstepError):
            answer = await self.call("gettransactionfinality", txid=txid)
            return bool(answer["final"])
        return False

    def _hear(self, event: dict[str, Any], on_final: OnFinal) -> None:
        if self._notices is not None:
            self._notices.write(msgspec.json.encode(event) + b"\n")
        match event["event"]:
            case "final" | "block_transactions":
                on_final(self.index, event["txids"])
            case "subscribed":
                self.is_up = True
                self.height = event["height"]
            case "block":
                self.height = event["height"]
            case "alarm":
                self.alarms.append(f"node {self.index}: {event['message']} ({event['code']})")
            case "overrun":
                self.overruns += 1
