"""J proves what members of quorum weight confirmed, or the closing block is refused [T7]."""

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from building import VERIFIER
from lockstep.crypto.keys import SignatureCheck
from lockstep.ledger.blocks import (
    check_block,
)
from lockstep.ledger.known import Known
from lockstep.primitives.votes import FreezeProof
from unit.ledger.planting import (
    chain_at,
    code_of,
    justified,
    reheaded,
    split,
    with_payments,
)


def test_justification_needs_quorum_weight() -> None:
    """[T7, M1]."""
    chain = chain_at(4, weights=(4, 3, 2, 2))
    weights = [member.weight for member in chain.committee.members]
    for chosen in range(1, 16):
        members = {i: () for i in range(4) if chosen >> i & 1}
        weight = sum(weights[i] for i in members)
        expected = "" if 3 * weight > 2 * 11 else "block.justification"
        assert code_of(chain, justified(chain, members)) == expected


def test_lists_of_the_justification() -> None:
    """[T7] A list is what was signed: the union of J is in the block, or the signature is bad."""
    chain = chain_at(4)
    first, second = split(chain, 0), split(chain, 1)
    good = justified(chain, {0: [first], 1: [first, second], 2: []}, first, second)
    assert code_of(chain, good) == ""
    for place, bits in ((0, 0b100), (0, 0b110), (0, 0), (1, 0b010), (2, 0b100)):
        proofs = list(good.justification)
        proofs[place] = replace(proofs[place], bitmap=bytes([bits]))
        bad = reheaded(chain, replace(good, justification=tuple(proofs)))
        assert code_of(chain, bad) == "block.justification"
        assert code_of(chain, bad, certified=True) == ""


@pytest.mark.parametrize(
    "tamper",
    [
        lambda proofs: proofs[:2],
        lambda proofs: (proofs[0], proofs[0], *proofs[1:]),
        lambda proofs: (proofs[1], proofs[0], *proofs[2:]),
        lambda proofs: (*proofs, replace(proofs[0], voter=b"\xff" * 32)),
        lambda proofs: (replace(proofs[0], bitmap=b"\x01"), *proofs[1:]),
        lambda proofs: (replace(proofs[0], bitmap=b"\x04"), *proofs[1:]),
        lambda proofs: (replace(proofs[0], bitmap=b""), *proofs[1:]),
        lambda proofs: (replace(proofs[0], bitmap=b"\x00\x00"), *proofs[1:]),
    ],
)
@pytest.mark.parametrize("certified", [False, True])
def test_structure_of_the_justification(
    tamper: Callable[[tuple[FreezeProof, ...]], tuple[FreezeProof, ...]], certified: bool
) -> None:
    """[T7] Distinct members in order, lists of the right length, the coinbase in none."""
    chain = chain_at(4)
    good = with_payments(chain, [split(chain)])
    bad = replace(good, justification=tamper(good.justification))
    assert code_of(chain, bad, certified=certified) == "block.justification"


def test_freeze_of_another_epoch_or_member_does_not_count() -> None:
    """[M2, T7]."""
    old = chain_at(4).assemble()
    chain = chain_at(8)
    now = chain.assemble()
    rest = now.justification[1:]
    for proofs in (
        (old.justification[0], *rest),
        (replace(now.justification[0], signature=now.justification[1].signature), *rest),
    ):
        bad = reheaded(chain, replace(now, justification=proofs))
        assert code_of(chain, bad) == "block.justification"


def test_ordinary_block_carries_no_justification() -> None:
    """[T2]."""
    proofs = chain_at(4).assemble().justification
    chain = chain_at(3)
    bad = replace(chain.assemble(), justification=proofs)
    assert code_of(chain, bad) == "block.justification"


class CountingVerifier:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.count = 0

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.count += len(checks)
        return VERIFIER.verify_many(checks)


def test_known_freezes_are_not_verified_again() -> None:
    """[T7] Known are voter, list and signature together; anything else is verified."""
    chain = chain_at(4)
    block = chain.assemble()
    freezes = [chain.freeze(member.member_id) for member in chain.committee.members]
    known = {(freeze.voter, freeze.digest): freeze.signature for freeze in freezes}
    counts = []
    for wrong in (0, 1):
        for freeze in freezes[:wrong]:
            known[freeze.voter, freeze.digest] = bytes(64)
        verifier = CountingVerifier()
        check_block(
            block,
            genesis=chain.genesis,
            state=chain.state,
            committee=chain.committee,
            previous_committee=chain.committee,
            view=chain.view,
            verifier=verifier,
            certified=False,
            coins_sum=chain.settled_sum,
            known=Known(freezes=known),
        )
        counts.append(verifier.count)
    assert counts == [0, 1]
