"""Making one payment from a wallet through a node."""

import time
from typing import Final

from msgspec import Struct

from lockstep.client.sync_client import SyncRpcClient
from lockstep.crypto.address import parse_address
from lockstep.primitives.codec import encode
from lockstep.primitives.params import params_of
from lockstep.primitives.transaction import TransactionOutput
from lockstep.wallet.spend import build_payment, sign_payment
from lockstep.wallet.wallet import Wallet

PAGE_COINS: Final = 1_000


class Paid(Struct, frozen=True):
    """What was sent, and what the node said; `sent_s` is when it left, on the monotonic clock."""

    txid: str
    fee: int
    sent_s: float
    is_accepted: bool
    code: str
    sentence: str

    def elapsed_ms(self) -> float:
        """Return the time since the payment left."""
        return (time.monotonic() - self.sent_s) * 1000


def pay(
    client: SyncRpcClient,
    wallet: Wallet,
    passphrase: str,
    *,
    payee: str,
    units: int,
    memo: bytes,
) -> Paid:
    """Build, sign and submit a payment; what is over comes back to the wallet's first address.

    Raises:
        Rejected: If the address, the amount, the coins or the passphrase do not allow it.
        Unavailable: If the node does not answer.
    """
    lock = parse_address(params_of(wallet.network).address_prefix, payee)
    chain_id = bytes.fromhex(client.call("getblockchaininfo")["chain_id"])
    addresses = list(wallet.addresses)
    rows = client.pages("listunspent", addresses=addresses, limit=PAGE_COINS)
    coins = wallet.spendables(rows)
    payment = build_payment(
        coins, [TransactionOutput(units, lock)], change_lock=wallet.locks[0], memo=memo
    )
    keychain = wallet.unlock(passphrase)
    keys = wallet.keys_for(payment.coins, keychain)
    raw = encode(sign_payment(payment, keys, chain_id=chain_id))
    sent_s = time.monotonic()
    [row] = client.submit([raw])
    return Paid(row.txid or "", payment.fee, sent_s, row.accepted, row.code, row.message)
