"""The first payment of a run: from the funded wallet, timed until the node says final."""

import time
from typing import Final

from msgspec import Struct

from lockstep.client.async_client import RpcClient
from lockstep.devnet.founding import Devnet
from lockstep.devnet.ports import HOST
from lockstep.errors import Unavailable
from lockstep.node.config import COOKIE_FILE
from lockstep.primitives.codec import encode
from lockstep.primitives.params import COIN
from lockstep.primitives.transaction import TransactionOutput
from lockstep.wallet.spend import build_payment, sign_payment

PAYEE_INDEX: Final = 10
WAIT_MS: Final = 20_000
COINS_LOOKED_AT: Final = 100


class NotFinal(Unavailable):
    """The first payment did not become final."""

    code = "devnet.first_payment"


class FirstPayment(Struct, frozen=True):
    """What the first payment was, and how long it took to be final."""

    txid: str
    ms: float


async def send_first_payment(devnet: Devnet) -> FirstPayment:
    """Pay one coin from the funded wallet's first address to another of its addresses.

    Raises:
        NotFinal: If the payment is refused, or not final in time.
    """
    wallet = devnet.wallet
    cookie = devnet.place.node_directory(0) / COOKIE_FILE
    async with RpcClient(HOST, devnet.ports[0].rpc, cookie) as client:
        page = await client.call(
            "listunspent", addresses=[wallet.addresses[0]], limit=COINS_LOOKED_AT
        )
        payment = build_payment(
            wallet.spendables(page["items"]),
            [TransactionOutput(COIN, wallet.locks[PAYEE_INDEX])],
            change_lock=wallet.locks[0],
            memo=b"first payment",
        )
        keys = wallet.keys_for(payment.coins, devnet.keychain)
        transaction = sign_payment(payment, keys, chain_id=devnet.genesis.chain_id)
        raw = encode(transaction)
        start_s = time.monotonic()
        [row] = await client.submit([raw])
        if not row.accepted:
            raise NotFinal(f"the first payment was refused: {row.message} ({row.code})")
        answer = await client.call("waittransactionfinality", txid=row.txid, timeout_ms=WAIT_MS)
        elapsed_ms = (time.monotonic() - start_s) * 1000
        if not answer["final"]:
            raise NotFinal(f"the first payment is {answer['state']} after {WAIT_MS} ms")
        return FirstPayment(answer["txid"], elapsed_ms)
