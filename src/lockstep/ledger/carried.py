"""The certificate a block carries for the one below: its structure, its weight, the time it gives.

Its signatures were checked by the ingress; judged here is what they were given for [T2, T3].
"""

from lockstep.errors import Misuse, Rejected
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import CommitCertificate
from lockstep.primitives.committee import Committee


class BadCarriedCertificate(Rejected):
    """The carried certificate is not one of quorum weight for the block below [T2]."""

    code = "block.previous_commit"


def median_time(certificate: CommitCertificate, committee: Committee) -> int:
    """Return the least time by which entries of at least half the certificate's weight stand [T3].

    Raises:
        Misuse: If no entry is a member's.
    """
    entries = sorted((s.time_ms, committee.weight_of(s.voter)) for s in certificate.signatures)
    total = sum(weight for _, weight in entries)
    reached = 0
    for time_ms, weight in entries:
        reached += weight
        if total and 2 * reached >= total:
            return time_ms
    raise Misuse("the certificate's entries are of no member")


def block_time(
    state: ChainState,
    previous_commit: CommitCertificate | None,
    previous_committee: Committee | None,
) -> int:
    """Return the only time a block over `state` with this certificate may have, in ms [T3]."""
    least = state.time_ms + 1
    if previous_commit is None or previous_committee is None:
        return least
    return max(least, median_time(previous_commit, previous_committee))


def check_carried(
    certificate: CommitCertificate | None, state: ChainState, committee: Committee | None
) -> None:
    """Refuse a certificate that is not of quorum weight for the block below [T2].

    `committee` is the set of the height below, None at height 1.

    Raises:
        BadCarriedCertificate: As its class says.
        Misuse: If a certificate is to be judged without a set.
    """
    if (certificate is None) != (state.height == 0):
        raise BadCarriedCertificate("all blocks but the first carry the certificate of the last")
    if certificate is None:
        return
    if committee is None:
        raise Misuse("a carried certificate is judged by the set of the height below")
    if certificate.height != state.height or certificate.block_id != state.block_id:
        raise BadCarriedCertificate("the certificate is of another block than the one below")
    voters = [entry.voter for entry in certificate.signatures]
    if len(dict.fromkeys(voters)) != len(voters):
        raise BadCarriedCertificate("a member stands twice in the certificate")
    if any(voter not in committee for voter in voters):
        raise BadCarriedCertificate("the certificate has an entry of somebody outside the set")
    weight = committee.weight_of_ids(voters)
    if weight < committee.quorum:
        raise BadCarriedCertificate(f"weight {weight} where {committee.quorum} is the quorum")
