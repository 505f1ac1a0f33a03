"""Bugs that only a liar brings to light: what is not checked of others' words [N4, T2, D3]."""

from typing import Any

from lockstep.ledger import blocks
from lockstep.ledger import evidence as evidence_rules
from lockstep.primitives import block as block_words
from lockstep.primitives import votes as vote_words
from lockstep.replica import amnesia, candidates, ingress, proposing
from lockstep.replica import evidence as found_evidence
from planted.patching import Patch


def evidence_unverified(patch: Patch) -> None:
    """Take any two words for evidence, whoever signed them [N4]."""
    nothing: list[Any] = []
    patch.setattr(ingress, "evidence_checks", lambda *_, **__: nothing)


def evidence_in_blocks_unverified(patch: Patch) -> None:
    """Take any two words in a block for evidence, whoever signed them [N4]."""
    nothing: list[Any] = []
    patch.setattr(evidence_rules, "evidence_checks", lambda *_, **__: nothing)


def evidence_included_again(patch: Patch) -> None:
    """Put the same evidence into block after block [N4]."""
    patch.setattr(evidence_rules, "is_used", lambda *_: False)
    patch.setattr(found_evidence, "is_used", lambda *_: False)
    patch.setattr(found_evidence, "drop_settled", lambda *_: ())


def evidence_dropped(patch: Patch) -> None:
    """Never propose what was found [N4]."""
    patch.setattr(proposing, "pieces_for_block", lambda *_: ())


def certified_by_the_proposer(patch: Patch) -> None:
    """Believe a proposer that what it names is certified [T4]."""
    patch.setattr(candidates, "_is_certified", lambda *_: True)


def coinbase_unchecked(patch: Patch) -> None:
    """Take whatever coinbase a proposer writes [N3]."""
    patch.setattr(blocks, "check_supply", lambda *_: None)
    next_state = blocks._next_state

    def trusting(block: Any, *arguments: Any, **words: Any) -> Any:
        make = vars(blocks)["make_coinbase"]

        def written(**_: Any) -> Any:
            _, issued, burnt = make(**_)
            return block.transactions[0].transaction, issued, burnt

        inner = Patch()
        inner.setattr(blocks, "make_coinbase", written)
        try:
            return next_state(block, *arguments, **words)
        finally:
            inner.undo()

    patch.setattr(blocks, "_next_state", trusting)


def carried_certificate_unchecked(patch: Patch) -> None:
    """Take a carried certificate of any weight, of members that stand in it twice [T2]."""
    patch.setattr(blocks, "check_carried", lambda *_: None)


def header_unchecked(patch: Patch) -> None:
    """Take a header whose fields do not follow from chain and body [T2, T3]."""
    patch.setattr(blocks, "_check_header", lambda *_: None)


def signature_without_chain(patch: Patch) -> None:
    """Sign without saying for which chain [M2]."""
    for module, name in (
        (vote_words, "make_vote_digest"),
        (vote_words, "make_freeze_digest"),
        (block_words, "make_ballot_digest"),
        (block_words, "make_proposal_digest"),
    ):
        make = vars(module)[name]

        def digest(*, chain_id: bytes, _make: Any = make, **words: Any) -> Any:
            return _make(chain_id=bytes(32), **words)

        patch.setattr(module, name, digest)


def amnesia_ignored(patch: Patch) -> None:
    """Sign at once, whatever the journal lacks [D3]."""

    def settle(core: Any) -> bool:
        was_lifted, core.silence.is_lifted = core.silence.is_lifted, core.own_id is not None
        return not was_lifted and core.silence.is_lifted

    patch.setattr(amnesia, "settle", settle)
    patch.setattr(amnesia, "note", lambda *_: None)
