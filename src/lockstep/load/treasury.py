"""The coins of the load: those under its keys, made into lanes, and signed beforehand."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Final

from lockstep.crypto.address import format_address
from lockstep.crypto.keys import SecretKey
from lockstep.errors import Unavailable
from lockstep.load.fanout import FanOut, Fountain, Want, gather_lanes, plan_wants
from lockstep.load.mix import Mix
from lockstep.load.payments import (
    KeyedPolicy,
    Kind,
    Purse,
    make_multisig,
    make_single,
)
from lockstep.load.station import Station
from lockstep.primitives.ids import make_outpoint

PAGE_COINS: Final = 1_000
LANES_MIN: Final = 500
LANES_MAX: Final = 60_000
LANES_SECONDS: Final = 4
AT_ONCE: Final = 40
WAIT_MS: Final = 20_000
MULTISIG_KEYS: Final = 3
MULTISIG_THRESHOLD: Final = 2

Tell = Callable[[str, int, int], None]


class CoinsNotMade(Unavailable):
    """A transaction that makes coins for the load was refused, or not final in time."""

    code = "load.coins"
    hint = "check that the network runs: `lockstep status`"


class Treasury:
    """All coins of the load.

    Attributes:
        purses: The lanes by kind of payment.
    """

    def __init__(
        self,
        policies: Sequence[KeyedPolicy],
        mix: Mix,
        *,
        prefix: str,
        payee_lock: bytes,
        chain_id: bytes,
        homes: int,
    ) -> None:
        """Use coins under `policies`; change of what is made from them is under the same."""
        self._addresses = {format_address(prefix, each.lock): each for each in policies}
        self._mix = mix
        self._fountain = Fountain(chain_id)
        self._has_looked = False
        first = policies[0]
        others = [_derive(first.keys[0], number) for number in range(MULTISIG_KEYS)]
        shapes = {
            Kind.ONE: [first],
            Kind.TWO: [first, make_single(others[0])],
            Kind.CHAINED: [first],
            Kind.CONFLICTING: [first],
            Kind.MULTISIG: [make_multisig(others, MULTISIG_THRESHOLD)],
        }
        self.purses = {
            kind: Purse(kind, shapes[kind], payee_lock=payee_lock, chain_id=chain_id, homes=homes)
            for kind in (Kind.ONE, *mix.shares)
        }

    async def prepare_as_is(
        self, station: Station, *, payments: int, spared: int
    ) -> dict[str, Any]:
        """Use every coin as a lane of its own; sign `payments`, but not from `spared` coins."""
        purse = self.purses[Kind.ONE]
        for address in self._addresses:
            async for row in _free_coins(station, address):
                purse.add_lanes([(row,)])
        for _ in purse.sign_ahead(min(payments, max(0, len(purse) - spared))):
            await asyncio.sleep(0)
        return {"coins": len(purse)}

    async def prepare(
        self, station: Station, *, payments: int, rate: int, tell: Tell
    ) -> dict[str, Any]:
        """Make the lanes that so many payments at this rate need, and sign the payments.

        Raises:
            NoFunds: If the coins do not suffice.
            CoinsNotMade: If the network does not take the transactions that make coins.
            LockstepError: If the node does not answer.
        """
        if not self._has_looked:
            await self._look(station)
        kinds = list(self._mix.shares)
        for kind in kinds:
            await self._make_lanes(station, kind, payments=payments, rate=rate, tell=tell)
        signed = 0
        for kind in kinds:
            if kind is Kind.CONFLICTING:
                # Rivals end their lane, so there is nothing to sign ahead.
                continue
            done = 0
            for done in self.purses[kind].sign_ahead(self._mix.share_of(kind, payments)):
                tell("signed", signed + done, payments)
                await asyncio.sleep(0)
            signed += done
        return {"lanes": sum(map(len, self.purses.values())), "funds": self._fountain.total}

    async def _look(self, station: Station) -> None:
        for address, policy in self._addresses.items():
            coins = [coin async for coin in _free_coins(station, address)]
            self._fountain.add(policy, coins)
        self._has_looked = True

    async def _make_lanes(
        self, station: Station, kind: Kind, *, payments: int, rate: int, tell: Tell
    ) -> None:
        purse = self.purses[kind]
        count = self._mix.share_of(kind, payments)
        if kind is Kind.CONFLICTING:
            lanes = count // 2 + 1
        else:
            wished = max(LANES_MIN, self._mix.share_of(kind, LANES_SECONDS * rate))
            lanes = min(LANES_MAX, wished, count)
        missing = lanes - len(purse)
        if missing <= 0:
            return
        wants = plan_wants(purse, missing, payments=count, funds=self._fountain.total)
        made: list[tuple[Want, tuple[bytes, int]]] = []
        total = len(wants)
        while wants:
            for start in range(0, len(planned := self._fountain.next_round(wants)), AT_ONCE):
                group = planned[start : start + AT_ONCE]
                await self._submit(station, group)
                for each in group:
                    made += each.made
                    self._fountain.add(each.policy, each.funds)
                tell("coins", len(made), total)
        for owner, lanes_made in gather_lanes(made):
            owner.add_lanes(lanes_made)

    async def _submit(self, station: Station, group: Sequence[FanOut]) -> None:
        rows = await station.submit([each.raw for each in group])
        for row in rows:
            if not row.accepted:
                raise CoinsNotMade(f"coins for the load were refused: {row.message} ({row.code})")
        waits = [
            station.call("waittransactionfinality", txid=each.txid, timeout_ms=WAIT_MS)
            for each in group
        ]
        for answer in await asyncio.gather(*waits):
            if not answer["final"]:
                raise CoinsNotMade(f"coins for the load are {answer['state']} after {WAIT_MS} ms")


def _derive(key: SecretKey, number: int) -> SecretKey:
    """Return a key that whoever holds `key` can make again."""
    return SecretKey(sha256(b"lockstep load key %d" % number + key.sign(b"lockstep load")).digest())


async def _free_coins(station: Station, address: str) -> Any:
    async for row in station.pages("listunspent", minconf=1, addresses=[address], limit=PAGE_COINS):
        if row["state"] == "Unspent":
            yield make_outpoint(bytes.fromhex(row["txid"]), row["vout"]), row["amount_units"]
