"""Votes for batches that nobody has, and batches that nobody else wants [B3]."""

from collections.abc import Sequence

from lockstep.primitives.codec import encode
from lockstep.primitives.messages import BatchBody, GetBatches, Message
from lockstep.primitives.transaction import (
    TRANSACTION_VERSION,
    Batch,
    Transaction,
    TransactionBody,
    TransactionOutput,
    make_batch_id,
    make_leaf,
    make_txid,
)
from lockstep.primitives.votes import Entry, VoteKind
from lockstep.sim.masks.mask import Mask

JUNK_BYTES = 512


class UnknownBatches(Mask):
    """Names what does not exist, is silent about the bodies it has, and spreads junk it named."""

    name = "unknown_batches"

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Keep bodies back."""
        return () if isinstance(message, BatchBody) else (message,)

    def on_arriving(self, peer: int, message: Message) -> bool:
        """Answer no request for a body."""
        return not isinstance(message, GetBatches)

    def on_tick(self) -> None:
        """Vote for batches that are nowhere, or for junk and then spread it."""
        core = self.stage.core
        if core is None:
            return
        dice = self.stage.dice
        self.did()
        kind, epoch = dice.choice(list(VoteKind)), core.finality.epoch
        if dice.random() < 0.5:
            entries = [Entry(dice.randbytes(32), b"\xff" * dice.randint(1, 50)) for _ in range(40)]
            self.stage.say(
                dice.choice(self.stage.peers()), self.stage.voice.vote(kind, epoch, entries)
            )
            return
        batch_id, body = self._junk()
        vote = self.stage.voice.vote(kind, epoch, [Entry(batch_id, b"\x01")])
        for peer in self.stage.peers():
            self.stage.say(peer, vote)
            self.stage.say(peer, BatchBody(body))

    def _junk(self) -> tuple[bytes, bytes]:
        """Make a batch of one transaction that spends nothing that is."""
        dice = self.stage.dice
        body = TransactionBody(
            version=TRANSACTION_VERSION,
            inputs=(dice.randbytes(36),),
            outputs=(TransactionOutput(10_000, dice.randbytes(32)),),
            memo=bytes(JUNK_BYTES),
        )
        transaction = Transaction(body, ())
        batch_id = make_batch_id([make_leaf(make_txid(body), ())])
        return batch_id, encode(Batch((transaction,)))
