"""The register of planted bugs: what each breaks, and where it is known to be seen.

A bug counts as caught where a run's verdict names one of its `rules`; a crash of something else
would prove nothing about the checker that must see it.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from lockstep.replica.effects import (
    BatchHeld,
    OwnConfirm,
    OwnVote,
    QuorumConfirmed,
    RoundSigned,
)
from lockstep.sim.violation import Violation
from lockstep.sim.world import World
from planted import closing, durability, fast_path, liars, money, rounds
from planted.patching import Patch, Plant

SEEDS_MAX: Final = 300


class Bug(NamedTuple):
    """One planted bug.

    Attributes:
        rules: Words of which one stands in the verdict of a run that caught it.
        seed: Where it is known to be seen; the search begins there and wraps around.
        shape: Arguments of `run_seed` that its stage needs.
        test: The tests that see it, for what no simulated world shows.
    """

    name: str
    plant: Plant
    rules: tuple[str, ...] = ()
    seed: int = 0
    shape: Mapping[str, Any] = {}
    test: str = ""


def _always_broken(patch: Patch) -> None:
    def broken(world: World) -> None:
        raise Violation("canary", "this run must fail")

    patch.setattr(World, "_boot_network", broken)


CANARY: Final = Bug("canary", _always_broken, ("canary",))
"""Fails in every world; if it is not reported, nothing reported here is worth anything."""

_UNEQUAL: Final = {"weights": (4, 3, 2, 2)}


def _one_liar(mask: str) -> dict[str, Any]:
    return {"nodes": 4, "byzantine": 1, "overrides": {"masks": (mask,)}}


_BACKUPS: Final = {"nodes": 4, "overrides": {"backups": 1}}

BUGS: Final = (
    Bug("quorum of half the weight", fast_path.quorum_of_half, ("quorum",)),
    Bug("quorum of votes received", fast_path.quorum_of_votes_received, ("quorum", "finality")),
    Bug("quorum of heads", fast_path.quorum_of_heads, ("quorum", "certified"), shape=_UNEQUAL),
    Bug("repeated vote counted", fast_path.repeated_vote_counted, ("quorum", "certified")),
    Bug("certificate of one vote", fast_path.certificate_of_one_vote, ("certified", "finality")),
    Bug("no lock on coins", fast_path.no_lock, ("one promise", "framed")),
    Bug("lock dropped by a timer", fast_path.lock_dropped_by_timer, ("one promise", "framed")),
    Bug("vote without epoch", fast_path.vote_without_epoch, ("quorum", "certified"), seed=60),
    Bug("confirm after freeze", closing.confirm_after_freeze, ("frozen",)),
    Bug("vote after freeze", closing.vote_after_freeze, ("frozen",)),
    Bug("promises kept back", closing.promises_kept_back, ("frozen",), seed=4),
    Bug("FREEZE list incomplete", closing.freeze_list_incomplete, ("FREEZE list", "framed")),
    Bug("FREEZE not repeated", closing.freeze_not_repeated, ("stuck",)),
    Bug("frozen lost in a crash", closing.frozen_lost_in_crash, ("frozen",)),
    Bug("list left out of the block", closing.list_left_out_of_block, ("finality",)),
    Bug("one FREEZE is enough", closing.one_freeze_is_enough, ("finality",)),
    Bug("uncertified in an ordinary block", closing.uncertified_in_ordinary_block, ("certified",)),
    Bug(
        "nothing uncertified in a closing block",
        closing.nothing_uncertified_in_closing_block,
        ("stuck",),
    ),
    Bug("dead payments kept", closing.dead_payments_kept, ("stuck", "own block is invalid")),
    # The node itself finds these in what the others tell it of its key [D3].
    Bug("votes not replayed", durability.forget(OwnVote), ("one promise", "amnesia.found")),
    Bug(
        "confirms not replayed",
        durability.forget(OwnConfirm),
        ("finality", "FREEZE list", "amnesia.found"),
    ),
    Bug("quorums not replayed", durability.forget(QuorumConfirmed), ("finality",)),
    Bug("rounds not replayed", durability.forget(RoundSigned), ("one signature", "amnesia.found")),
    Bug("batches not replayed", durability.forget(BatchHeld), ("names a batch",)),
    Bug(
        "send before sync",
        durability.send_before_sync,
        ("finality", "one promise", "one signature", "amnesia.found"),
    ),
    Bug(
        "no sync", durability.no_sync, ("finality", "one promise", "one signature", "amnesia.found")
    ),
    Bug("spent coins only on disk", durability.spent_coins_only_on_disk, ("Certified", "stuck")),
    Bug("spent coins come back", durability.spent_coins_come_back, ("stuck", "double", "state")),
    Bug("no lock rule", rounds.no_lock_rule, test="tests/unit/consensus"),
    Bug("valid round ignored", rounds.valid_round_ignored, test="tests/unit/consensus"),
    Bug("nil counted as a value", rounds.nil_counted_as_value, ("certificate",)),
    Bug("nothing repeated", rounds.nothing_repeated, ("stuck",)),
    Bug("nothing fetched", rounds.nothing_fetched, ("stuck",)),
    Bug("nobody catches up", rounds.nobody_catches_up, ("stuck",)),
    Bug(
        "rotation over all heights",
        rounds.rotation_over_all_heights,
        test="tests/sim/test_rotation.py",
    ),
    Bug(
        "evidence unverified",
        liars.evidence_unverified,
        ("framed", "evidence", "accused"),
        shape=_one_liar("false_evidence"),
    ),
    Bug(
        "evidence in blocks unverified",
        liars.evidence_in_blocks_unverified,
        test="tests/unit/ledger/test_evidence.py",
    ),
    Bug(
        "evidence included again",
        liars.evidence_included_again,
        ("evidence",),
        shape=_one_liar("double_voter"),
    ),
    Bug(
        "evidence dropped",
        liars.evidence_dropped,
        ("evidence",),
        shape=_one_liar("double_voter"),
    ),
    Bug(
        "certified by the proposer's word",
        liars.certified_by_the_proposer,
        ("certified",),
        seed=55,
        shape=_one_liar("invalid_blocks"),
    ),
    Bug(
        "coinbase unchecked",
        liars.coinbase_unchecked,
        ("supply",),
        seed=36,
        shape=_one_liar("invalid_blocks"),
    ),
    Bug(
        "carried certificate unchecked",
        liars.carried_certificate_unchecked,
        ("certificate",),
        shape=_one_liar("invalid_blocks"),
    ),
    Bug(
        "header unchecked",
        liars.header_unchecked,
        ("header",),
        shape=_one_liar("invalid_blocks"),
    ),
    Bug("signature without chain", liars.signature_without_chain, test="tests/unit/primitives"),
    Bug("amnesia ignored", liars.amnesia_ignored, ("one promise", "one signature"), shape=_BACKUPS),
    Bug("fee counted too high", money.fee_counted_too_high, ("Supply", "supply")),
    Bug("spent coins left in the sum", money.spent_coins_left_in_the_sum, ("commitment",)),
    Bug(
        "changes lost in a crash",
        money.changes_lost_in_a_crash,
        ("commits to another state",),
        seed=1,
    ),
    Bug(
        "commitment unchecked",
        money.commitment_unchecked,
        ("commitment",),
        seed=16,
        shape=_one_liar("invalid_blocks"),
    ),
    Bug("output made too large", money.output_made_too_large, ("Supply", "supply")),
)
