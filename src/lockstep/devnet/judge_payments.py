"""Which payments a vote is for and which coins they spend, out of all that was seen of them."""

from collections.abc import Iterable
from hashlib import sha256

from lockstep.errors import Rejected
from lockstep.primitives import codec
from lockstep.primitives.bitmap import MalformedBitmap, iterate_bits, parse_bitmap
from lockstep.primitives.transaction import (
    BATCH_BYTES_MAX,
    Batch,
    Transaction,
    make_batch_id,
    make_leaf,
    make_txid,
)
from lockstep.primitives.votes import Entry, Freeze, Vote


class PaymentIndex:
    """Every payment and batch that any node held, by what it is called."""

    def __init__(self) -> None:
        """Begin knowing none."""
        self._inputs: dict[bytes, tuple[bytes, ...]] = {}
        self._batches: dict[bytes, tuple[bytes, ...]] = {}
        self._bodies: dict[bytes, None] = {}
        self._resolved: dict[Vote | Freeze, tuple[bytes, ...]] = {}

    def add_batch(self, body: bytes) -> None:
        """Take in the payments of an encoded batch; what is none names nothing."""
        digest = sha256(body).digest()
        if digest in self._bodies:
            return
        self._bodies[digest] = None
        try:
            batch = codec.decode(Batch, body, size_max=BATCH_BYTES_MAX)
        except Rejected:
            return
        txids = self.add_transactions(batch.transactions)
        leaves = [
            make_leaf(txid, transaction.witnesses)
            for txid, transaction in zip(txids, batch.transactions, strict=True)
        ]
        self._batches[make_batch_id(leaves)] = txids

    def add_transactions(self, transactions: Iterable[Transaction]) -> tuple[bytes, ...]:
        """Take in payments and return their txids."""
        txids = []
        for transaction in transactions:
            txid = make_txid(transaction.body)
            self._inputs[txid] = transaction.body.inputs
            txids.append(txid)
        return tuple(txids)

    def inputs_of(self, txid: bytes) -> tuple[bytes, ...]:
        """Return the outpoints a payment spends; none where nobody ever showed the payment."""
        return self._inputs.get(txid, ())

    def txids_of(self, message: Vote | Freeze) -> tuple[bytes, ...]:
        """Return the payments a Vote, Confirm or FREEZE names, as far as its batches are known."""
        found = self._resolved.get(message)
        if found is None:
            found = self._resolved[message] = tuple(
                txid for entry in message.entries for txid in self._txids(entry)
            )
        return found

    def is_known(self, message: Vote | Freeze) -> bool:
        """Tell whether every batch the message names was seen."""
        return all(entry.batch_id in self._batches for entry in message.entries)

    def _txids(self, entry: Entry) -> list[bytes]:
        txids = self._batches.get(entry.batch_id, ())
        try:
            return [txids[i] for i in iterate_bits(parse_bitmap(entry.bitmap, len(txids)))]
        except MalformedBitmap:
            return []
