"""A decoded batch on its way to a judged one: its transactions derived, its checks claimed [B1]."""

from collections.abc import Sequence
from itertools import accumulate

from lockstep.crypto.hashing import merkle_root_above
from lockstep.ledger.rules import BadSignature
from lockstep.primitives.batch import Parts
from lockstep.primitives.transaction import VerifiedBatch, VerifiedTransaction, make_rooted_batch_id
from lockstep.replica.judging import STEP_TRANSACTIONS, Judging, SignatureGroup
from lockstep.replica.witnesses import Claims, Opened, claim_spends, derive_parts


def deriving(parts: Parts) -> Judging[list[Opened]]:
    """Derive what follows from the transactions' bytes, in steps; no signature is checked."""
    steps: list[Opened] = []
    for start in range(0, len(parts.bodies), STEP_TRANSACTIONS):
        # Before the first, too: decoding the whole was a step by itself.
        yield ()
        steps.append(derive_parts(parts, start, start + STEP_TRANSACTIONS))
    return steps


class OpenBatch:
    """A batch whose bytes are derived; `judge` has its witnesses judged, `finish` reads them."""

    def __init__(self, body: bytes, steps: Sequence[Opened]) -> None:
        """Take what `deriving` made of the body's transactions."""
        self._body = body
        self._steps = steps
        self._derived = [each for step in steps for each in step.derived]
        self._claims: list[tuple[slice, Claims]] = []
        self.leaves = tuple([each.leaf for each in self._derived])
        root = merkle_root_above([each.node for each in self._derived])
        self.batch_id = make_rooted_batch_id(len(self._derived), root)

    def judge(self, chain_id: bytes, group: SignatureGroup) -> Judging[None]:
        """Add the checks of all witnesses to the group, and have full steps judged meanwhile."""
        for step in self._steps:
            claims = claim_spends(step, chain_id=chain_id)
            self._claims.append((group.add(claims.checks), claims))
            yield from group.judge_full()

    def finish(self, group: SignatureGroup) -> VerifiedBatch:
        """Return the batch with the transactions whose witnesses hold, and codes for the others."""
        faults: dict[int, str] = {}
        first = 0
        for claim, claims in self._claims:
            if claims.faults or not group.holds(claim):
                faults |= _find_faults(first, claim.start, claims, group)
            first += len(claims.counts)
        transactions: tuple[VerifiedTransaction | None, ...] = tuple(self._derived)
        if faults:
            transactions = tuple(
                [None if place in faults else each for place, each in enumerate(transactions)]
            )
        return VerifiedBatch(
            batch_id=self.batch_id,
            body=self._body,
            txids=tuple([each.txid for each in self._derived]),
            leaves=self.leaves,
            transactions=transactions,
            faults=faults,
        )


def _find_faults(first: int, start: int, claims: Claims, group: SignatureGroup) -> dict[int, str]:
    """Return the codes of the bad ones by their positions, which begin at `first`."""
    faults: dict[int, str] = {}
    starts = accumulate(claims.counts[:-1], initial=start)
    for position, (at, count) in enumerate(zip(starts, claims.counts, strict=True)):
        code = claims.faults.get(position)
        if code is None and not group.holds(slice(at, at + count)):
            code = BadSignature.code
        if code is not None:
            faults[first + position] = code
    return faults
