"""Checks on what a node holds in memory: what peers can fill has a bound [B3, M4, T1]."""

from lockstep.consensus.votekeeper import ROUNDS_AHEAD_MAX, VALUES_PER_MEMBER_MAX
from lockstep.primitives.block import BallotKind
from lockstep.primitives.params import UNKNOWN_ENTRIES_MAX
from lockstep.replica import quotas
from lockstep.replica.candidates import ROUNDS_AHEAD_MAX as PROPOSAL_ROUNDS_AHEAD_MAX
from lockstep.replica.fetching import WANTED_MAX
from lockstep.replica.height import BLOCKS_A_ROUND_MAX, FREEZES_A_MEMBER_MAX
from lockstep.replica.replica import Replica
from lockstep.sim.violation import Violation


def check_bounds(node: int, replica: Replica) -> None:
    """Refuse a replica that holds more than its bounds allow.

    Raises:
        Violation: If one is passed; the sentence says which.
    """
    core = replica._core  # noqa: SLF001  # What the core holds is no answer of its view.
    members = len(core.committee)
    height, finality, fetches = core.height, core.finality, core.fetches
    held: list[tuple[str, int, int]] = [
        ("members with a FREEZE", len(height.freezes), members),
        ("FREEZEs", sum(map(len, height.freezes.values())), FREEZES_A_MEMBER_MAX * members),
        ("batches wanted", len(fetches.batches), WANTED_MAX),
        ("certificates wanted", len(fetches.votes), WANTED_MAX),
        ("unknown batches named", len(finality.unknown_batches()), UNKNOWN_ENTRIES_MAX * members),
        ("unbacked bytes", core.quotas.held_bytes(), quotas.UNBACKED_BYTES_MAX * members),
        ("refused batches", len(core.quotas.refused), quotas.UNBACKED_BATCHES_MAX),
        ("batches missed", len(finality.missed), UNKNOWN_ENTRIES_MAX),
    ]
    if height.driver is not None:
        rounds = max(height.driver.state.round, 0) + 2
        most = members * len(BallotKind) * VALUES_PER_MEMBER_MAX * (rounds + ROUNDS_AHEAD_MAX)
        held.append(("ballots", height.driver.votes.count_ballots(), most))
        most = BLOCKS_A_ROUND_MAX * (rounds + PROPOSAL_ROUNDS_AHEAD_MAX)
        held.append(("proposed blocks", len(height.candidates), most))
    for name, count, most in held:
        if count > most:
            raise Violation("bounds", f"node {node} holds {count} {name}, at most {most} may be")
