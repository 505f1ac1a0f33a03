"""The safety rules of the fast path and the closing, each taken out in turn.

Every one of them must be caught by a small model explored to the last state, and by what comes of
it: that a node contradicts itself is not looked at, but where the rule is about just that.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, Final, NamedTuple

from lockstep.consensus.finality import TransactionFinality
from lockstep.consensus.tally import BatchTally
from lockstep.ledger import blocks, justification
from lockstep.primitives.votes import VoteKind
from lockstep.replica import amnesia, commit, freezing, locking, voting
from lockstep.replica.effects import OwnConfirm, OwnVote, Persist, QuorumConfirmed, Stage
from lockstep.sim.exhaustive import words
from planted import closing, durability, fast_path
from planted.patching import Patch, Plant


class Mutant(NamedTuple):
    """A rule taken out.

    Attributes:
        configuration: The model that must catch it.
        sentence: The rule, in words.
        by: How the broken promise begins that shows it; anything else would be another defect.
        is_watched: Whether nodes' own contradictions count, for rules whose break has no other
            consequence at this size.
    """

    name: str
    plant: Plant
    configuration: str
    sentence: str
    by: str = "finality"
    is_watched: bool = False

    def take_out(self, patch: Patch) -> None:
        """Take the rule out, and with it the last resort of a node that sees itself contradicted.

        A node that learns so falls silent [D3], which would hide what the rule is there for.
        """
        self.plant(patch)
        if not self.is_watched:
            patch.setattr(amnesia, "note", lambda *_: None)


def certificate_below_quorum(patch: Patch) -> None:
    """Take a certificate that one vote is missing from [F2]."""
    _lower(patch, VoteKind.VOTE)


def final_below_quorum(patch: Patch) -> None:
    """Call final what one Confirm is missing from [F4]."""
    _lower(patch, VoteKind.CONFIRM)


def _lower(patch: Patch, kind: VoteKind) -> None:
    make = BatchTally.__init__

    def init(tally: Any, batch_id: bytes, txids: Any, quorum: int) -> None:
        make(tally, batch_id, txids, quorum)
        tally._planes[kind]._threshold = quorum - 1

    patch.setattr(BatchTally, "__init__", init)


def rival_confirmed(patch: Patch) -> None:
    """Confirm though another payment of the coin was confirmed [F3]."""
    patch.setattr(TransactionFinality, "confirmed_rival", lambda *_: None)


def child_before_parent(patch: Patch) -> None:
    """Vote for a child whose parent is held and not certified [F1]."""
    patch.setattr(locking, "has_inputs", lambda core, entry, coins: entry.fee is not None)


def decided_rival_ignored(patch: Patch) -> None:
    """Keep, vote for and confirm payments whose coin a decided block has spent [F1, F3, T8]."""
    closing.dead_payments_kept(patch)
    child_before_parent(patch)


def locks_dropped_by_block(patch: Patch) -> None:
    """Give the locks free with every block, and vote again [F1]."""
    revisit = commit.revisit

    def again(core: Any, _children: Any) -> None:
        core.finality._locks = {}
        if not core.finality.frozen:
            voting.vote_on(core, core.pool.waiting())
        revisit(core, [entry.verified.txid for entry in core.pool])

    patch.setattr(commit, "revisit", again)


def justification_below_quorum(patch: Patch) -> None:
    """Take a closing block whose J is of any weight [T7]."""
    check = vars(blocks)["check_justification"]

    def checked(proofs: Sequence[Any], *, committee: Any, **rest: Any) -> None:
        small = copy(committee)
        small.quorum = 1
        check(proofs, committee=small, **rest)

    patch.setattr(blocks, "check_justification", checked)


def justification_lists_unbound(patch: Patch) -> None:
    """Let a closing block say of a FREEZE what it likes: its list is not what was signed [T7]."""
    check = vars(blocks)["check_justification"]

    def checked(proofs: Sequence[Any], *, verifier: Any, **rest: Any) -> None:
        check(proofs, verifier=None, **rest)

    patch.setattr(blocks, "check_justification", checked)


def freeze_without_epoch(patch: Patch) -> None:
    """Sign FREEZEs without their epoch, so that an old one fits a later J [M2]."""
    make = vars(freezing)["make_freeze_digest"]

    def untagged(*, chain_id: bytes, epoch: int, digest: bytes) -> bytes:
        signed: bytes = make(chain_id=chain_id, epoch=0, digest=digest)
        return signed

    for room in (freezing, justification, words):
        patch.setattr(room, "make_freeze_digest", untagged)


def sent_before_written(patch: Patch) -> None:
    """Let messages leave before their records are written [F5, D1]."""
    patch.setattr(Persist, "stage", Stage.NOTIFY)


MUTANTS: Final = (
    Mutant(
        "no lock",
        fast_path.no_lock,
        "pair",
        "at most one txid a coin and epoch [F1]",
        by="certificates",
    ),
    Mutant(
        "child before its parent",
        child_before_parent,
        "child",
        "a child is voted for only when its parent is certified [F1]",
        by="certificates",
    ),
    Mutant(
        "locks dropped by a block",
        locks_dropped_by_block,
        "long-epoch",
        "locks live as long as the epoch [F1]",
        by="certificates",
    ),
    Mutant(
        "locks lost in a crash",
        durability.forget(OwnVote),
        "crash",
        "a Vote and its locks are durable [F1, 2.6]",
        by="certificates",
    ),
    Mutant(
        "certificate below quorum",
        certificate_below_quorum,
        "closing",
        "a certificate is Votes of weight Q [F2]",
        by="alarm: finality.two_certificates",
    ),
    Mutant(
        "confirm without certificate",
        fast_path.certificate_of_one_vote,
        "closing",
        "a Confirm needs a certificate [F3]",
        by="alarm: finality.two_certificates",
    ),
    Mutant(
        "rival confirmed",
        rival_confirmed,
        "outvoted",
        "no other txid was confirmed on any of the inputs [F3]",
        by="one promise",
        is_watched=True,
    ),
    Mutant(
        "decided rival ignored",
        decided_rival_ignored,
        "closing",
        "no input is spent by a decided transaction [F1, F3]",
    ),
    Mutant(
        "final below quorum",
        final_below_quorum,
        "pair",
        "final is Confirms of weight Q [F4]",
        by="quorum",
    ),
    Mutant(
        "votes counted a message",
        fast_path.repeated_vote_counted,
        "closing",
        "a member counts once, however often it speaks [B4]",
        by="quorum",
    ),
    Mutant(
        "members counted, not weight",
        fast_path.quorum_of_heads,
        "weights-closing",
        "a quorum is by weight [M1]",
        by="quorum",
    ),
    Mutant(
        "votes without epoch",
        fast_path.vote_without_epoch,
        "closing",
        "Votes of one epoch only are added up [M2]",
        by="alarm: finality.two_certificates",
    ),
    Mutant(
        "FREEZE without epoch",
        freeze_without_epoch,
        "epochs",
        "a FREEZE is of one epoch [M2]",
    ),
    Mutant(
        "uncertified in an ordinary block",
        closing.uncertified_in_ordinary_block,
        "ordinary",
        "nothing uncertified stands in an ordinary block [T4]",
    ),
    Mutant(
        "confirm after freeze",
        closing.confirm_after_freeze,
        "closing",
        "a frozen node confirms nothing [T5]",
    ),
    Mutant(
        "FREEZE list incomplete",
        closing.freeze_list_incomplete,
        "closing",
        "the list is all that was confirmed and is not in the chain [T5]",
    ),
    Mutant(
        "J below quorum",
        justification_below_quorum,
        "closing",
        "J is FREEZEs of weight Q [T7]",
    ),
    Mutant(
        "J's lists not as signed",
        justification_lists_unbound,
        "closing",
        "every transaction of every list in J is in the block [T7]",
    ),
    Mutant(
        "frozen lost in a crash",
        closing.frozen_lost_in_crash,
        "crash-closing",
        "that a node is frozen is durable [T5, 2.6]",
    ),
    Mutant(
        "confirms lost in a crash",
        durability.forget(OwnConfirm),
        "crash-closing",
        "a Confirm is durable [F3, 2.6]",
    ),
    Mutant(
        "finality lost in a crash",
        durability.forget(QuorumConfirmed),
        "crash",
        "the quorum is durable before anybody is told [F4, 2.6]",
    ),
    Mutant(
        "sent before written",
        sent_before_written,
        "crash",
        "a message leaves only when its record is synced [F5, D1]",
        by="certificates",
    ),
)
"""What must be caught; the rules that are missing here are explained in docs/internals."""
