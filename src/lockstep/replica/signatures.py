"""What the signatures of masternodes' messages must verify against [M2, M3].

Each function returns checks for a verifier: key, signed bytes, signature. The key comes from the
committee of the message's epoch or height, so that a signature counts only where its member votes.
"""

from typing import Protocol

from lockstep.crypto.keys import SignatureCheck
from lockstep.errors import Rejected, Unavailable
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    CommitCertificate,
    Proposal,
    make_ballot_digest,
    make_proposal_digest,
)
from lockstep.primitives.committee import Committee
from lockstep.primitives.votes import Freeze, Vote, make_freeze_digest, make_vote_digest


class BadMessageSignature(Rejected):
    """A message's signature does not hold under its member's voting key."""

    code = "message.signature"


class Stranger(Rejected):
    """A message is signed in the name of somebody who is not in the committee."""

    code = "message.stranger"


class UnknownCommittee(Unavailable):
    """The committee of this epoch or height is not known here yet, or no more."""

    code = "committee.unknown"


class CommitteeLookup(Protocol):
    """Committees by epoch and height; the answers must not change while a call runs."""

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the committee of the epoch, or None where it is not known."""
        ...

    def committee_for_height(self, height: int) -> Committee | None:
        """Return the committee that signs this height, or None where it is not known."""
        ...


def committee_of_epoch(lookup: CommitteeLookup, epoch: int) -> Committee:
    """Return the committee of an epoch.

    Raises:
        UnknownCommittee: If it is not known.
    """
    committee = lookup.committee_for_epoch(epoch)
    if committee is None:
        raise UnknownCommittee(f"the committee of epoch {epoch} is not known")
    return committee


def committee_of_height(lookup: CommitteeLookup, height: int) -> Committee:
    """Return the committee that signs a height.

    Raises:
        UnknownCommittee: If it is not known.
    """
    committee = lookup.committee_for_height(height)
    if committee is None:
        raise UnknownCommittee(f"the committee of height {height} is not known")
    return committee


def vote_check(vote: Vote, *, lookup: CommitteeLookup, chain_id: bytes) -> SignatureCheck:
    """Return the check of a Vote or Confirm [B2].

    Raises:
        UnknownCommittee: If its epoch's committee is not known.
        Stranger: If the voter is not in it.
    """
    committee = committee_of_epoch(lookup, vote.epoch)
    digest = make_vote_digest(
        chain_id=chain_id, kind=vote.kind, epoch=vote.epoch, entries=vote.entries
    )
    return _voting_key(committee, vote.voter), digest, vote.signature


def freeze_check(freeze: Freeze, *, lookup: CommitteeLookup, chain_id: bytes) -> SignatureCheck:
    """Return the check of a FREEZE; whether the list hashes to the digest is not judged here [T5].

    Raises:
        UnknownCommittee: If its epoch's committee is not known.
        Stranger: If the voter is not in it.
    """
    committee = committee_of_epoch(lookup, freeze.epoch)
    digest = make_freeze_digest(chain_id=chain_id, epoch=freeze.epoch, digest=freeze.digest)
    return _voting_key(committee, freeze.voter), digest, freeze.signature


def ballot_check(ballot: Ballot, *, lookup: CommitteeLookup, chain_id: bytes) -> SignatureCheck:
    """Return the check of a prevote or precommit [T1].

    Raises:
        UnknownCommittee: If its height's committee is not known.
        Stranger: If the voter is not in it.
    """
    committee = committee_of_height(lookup, ballot.height)
    digest = make_ballot_digest(
        chain_id=chain_id,
        kind=ballot.kind,
        height=ballot.height,
        round_number=ballot.round,
        block_id=ballot.block_id,
        time_ms=ballot.time_ms,
    )
    return _voting_key(committee, ballot.voter), digest, ballot.signature


def proposal_check(
    proposal: Proposal, *, lookup: CommitteeLookup, chain_id: bytes
) -> SignatureCheck:
    """Return the check of a proposal's signature; the rotation is the replica's matter [T1].

    Raises:
        UnknownCommittee: If its height's committee is not known.
        Stranger: If the proposer is not in it.
    """
    committee = committee_of_height(lookup, proposal.height)
    digest = make_proposal_digest(
        chain_id=chain_id,
        height=proposal.height,
        round_number=proposal.round,
        block_id=proposal.block_id,
        valid_round=proposal.valid_round,
    )
    return _voting_key(committee, proposal.proposer), digest, proposal.signature


def certificate_checks(
    certificate: CommitCertificate, *, lookup: CommitteeLookup, chain_id: bytes
) -> list[SignatureCheck]:
    """Return the checks of a commit certificate's precommits, in its height's committee [T2].

    Raises:
        UnknownCommittee: If that committee is not known.
        Stranger: If a signer is not in it.
    """
    committee = committee_of_height(lookup, certificate.height)
    return [
        (
            _voting_key(committee, precommit.voter),
            make_ballot_digest(
                chain_id=chain_id,
                kind=BallotKind.PRECOMMIT,
                height=certificate.height,
                round_number=certificate.round,
                block_id=certificate.block_id,
                time_ms=precommit.time_ms,
            ),
            precommit.signature,
        )
        for precommit in certificate.signatures
    ]


def _voting_key(committee: Committee, member_id: bytes) -> bytes:
    member = committee.find(member_id)
    if member is None:
        raise Stranger("the signer is not in the committee")
    return member.voting_key
