"""A small cast for the tests of consensus: members by weight, ballots and proposals in one line."""

from lockstep.primitives.block import Ballot, BallotKind, Proposal

PREVOTE = BallotKind.PREVOTE
PRECOMMIT = BallotKind.PRECOMMIT


class FixedWeights:
    """Weights by member id, as the vote keeper asks for them."""

    def __init__(self, weights: dict[bytes, int]) -> None:
        self.weights = weights
        self.total_weight = sum(weights.values())

    def weight_of(self, member_id: bytes, /) -> int:
        return self.weights.get(member_id, 0)


def make_ballot(
    kind: BallotKind,
    round_number: int,
    value: bytes | None,
    voter: bytes,
    *,
    height: int = 1,
    time_ms: int = 0,
) -> Ballot:
    return Ballot(
        kind=kind,
        height=height,
        round=round_number,
        block_id=value,
        time_ms=time_ms,
        voter=voter,
        signature=bytes(64),
    )


def make_proposal(
    round_number: int, value: bytes, proposer: bytes, *, valid_round: int = -1, height: int = 1
) -> Proposal:
    return Proposal(
        height=height,
        round=round_number,
        block_id=value,
        valid_round=valid_round,
        proposer=proposer,
        signature=bytes(64),
    )
