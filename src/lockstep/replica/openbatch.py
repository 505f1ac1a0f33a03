"""A decoded batch on its way to a judged one: its transactions derived, its checks claimed [B1]."""

from collections.abc import Sequence

from lockstep.errors import Rejected
from lockstep.ledger.rules import BadSignature
from lockstep.primitives.transaction import (
    Transaction,
    VerifiedBatch,
    VerifiedTransaction,
    make_batch_id,
)
from lockstep.replica.judging import STEP_TRANSACTIONS, Judging, SignatureGroup
from lockstep.replica.witnesses import derive_transaction, witness_checks


def derive_transactions(transactions: Sequence[Transaction]) -> Judging[list[VerifiedTransaction]]:
    """Derive what follows from the transactions' bytes, in steps; no signature is checked."""
    derived: list[VerifiedTransaction] = []
    for start in range(0, len(transactions), STEP_TRANSACTIONS):
        # Before the first, too: decoding the whole was a step by itself.
        yield ()
        derived += map(derive_transaction, transactions[start : start + STEP_TRANSACTIONS])
    return derived


class OpenBatch:
    """A batch whose bytes are derived; `judge` has its witnesses judged, `finish` reads them."""

    def __init__(self, body: bytes, derived: Sequence[VerifiedTransaction]) -> None:
        """Take what `derive_transactions` made of the body's transactions."""
        self._body = body
        self._derived = derived
        self._claims: list[slice | str] = []
        self.batch_id = make_batch_id([each.leaf for each in derived])

    def judge(self, chain_id: bytes, group: SignatureGroup) -> Judging[None]:
        """Add the checks of all witnesses to the group, and have full steps judged meanwhile."""
        for derived in self._derived:
            try:
                checks = witness_checks(
                    derived.transaction.witnesses, txid=derived.txid, chain_id=chain_id
                )
                self._claims.append(group.add(checks))
            except Rejected as fault:
                self._claims.append(fault.code)
            yield from group.judge_full()

    def finish(self, group: SignatureGroup) -> VerifiedBatch:
        """Return the batch with the transactions whose witnesses hold, and codes for the others."""
        faults: dict[int, str] = {}
        transactions: list[VerifiedTransaction | None] = []
        for position, (derived, claim) in enumerate(zip(self._derived, self._claims, strict=True)):
            if isinstance(claim, slice) and group.holds(claim):
                transactions.append(derived)
                continue
            faults[position] = claim if isinstance(claim, str) else BadSignature.code
            transactions.append(None)
        return VerifiedBatch(
            batch_id=self.batch_id,
            body=self._body,
            txids=tuple([derived.txid for derived in self._derived]),
            leaves=tuple([derived.leaf for derived in self._derived]),
            transactions=tuple(transactions),
            faults=faults,
        )
