"""Checks on decided blocks: one chain, one state, supply, certificates, no double spend.

The coins are kept a second time by the simplest ledger there is, so that the money counters of the
real one are recounted and not believed [L6].
"""

from lockstep.crypto.keys import Verifier
from lockstep.ledger.blocks import make_block
from lockstep.ledger.coins import CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import (
    BallotKind,
    Block,
    CommitCertificate,
    make_ballot_digest,
    make_block_id,
)
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import make_txid
from lockstep.replica.effects import BlockDecided
from lockstep.sim.commitment_checker import CommitmentChecker
from lockstep.sim.header_checker import HeaderChecker
from lockstep.sim.violation import Violation


class ChainChecker:
    """What was decided at any honest node, and that everybody decided the same.

    Attributes:
        height: The highest height decided by anybody.
        heights: Height of each decided transaction by txid.
        spender_of: Txid that spent each outpoint in the chain.
        closings, rounds_above_zero: Heights of these kinds.
    """

    def __init__(self, genesis: Genesis, verifier: Verifier) -> None:
        """Begin at genesis."""
        self.height = 0
        self.heights: dict[bytes, int] = {}
        self.spender_of: dict[bytes, bytes] = {}
        self.closings = 0
        self.rounds_above_zero = 0
        self._genesis = genesis
        self._verifier = verifier
        self._weights = {m.member_id: m for m in genesis.committee.members}
        self._headers = HeaderChecker(genesis)
        self._commitments = CommitmentChecker(genesis)
        self._certificates: list[CommitCertificate] = []
        self._results: list[tuple[CoinDelta, ChainState]] = []
        self._fees = 0
        self._coins = {
            genesis_outpoint(genesis.chain_id, index): output.amount
            for index, output in enumerate(genesis.coins)
        }

    def on_decided(self, node: int, record: BlockDecided) -> bool:
        """Check a decision of a node; tell whether it is the first of its height."""
        block, certificate = record.block, record.certificate
        height = block.header.height
        block_id = make_block_id(block.header)
        self._check_certificate(node, block_id, certificate, height)
        if record.delta.height != height or record.state.height != height:
            raise Violation("state", f"node {node} writes the block of height {height} as another")
        if height > self.height + 1:
            raise Violation("agreement", f"node {node} decided {height} after {self.height}")
        if height <= self.height:
            self._check_same(node, block_id, record, certificate)
            return False
        carried = block.previous_commit
        if (carried is None) != (height == 1):
            raise Violation("certificate", f"height {height} carries none, or one too many")
        if carried is not None:
            below = self._certificates[-1]
            self._check_certificate(node, below.block_id, carried, below.height)
        whole = make_block(block)
        self._headers.on_decided(whole, block_id)
        self._certificates.append(certificate)
        self._results.append((record.delta, record.state))
        self.height = height
        self.closings += block.header.is_closing
        self.rounds_above_zero += certificate.round > 0
        self._apply(whole, record.state)
        return True

    def state_at(self, height: int) -> ChainState:
        """Return the chain's state after a decided height of at least 1."""
        return self._results[height - 1][1]

    def _check_same(
        self, node: int, block_id: bytes, record: BlockDecided, certificate: CommitCertificate
    ) -> None:
        height = record.delta.height
        first = self._certificates[height - 1]
        if first.block_id != block_id:
            raise Violation(
                "agreement",
                f"node {node} decided {block_id.hex()[:16]} at height {height}, another "
                f"{first.block_id.hex()[:16]}",
                _culprits(first, certificate),
            )
        if self._results[height - 1] != (record.delta, record.state):
            raise Violation("state", f"node {node} has another state at height {height}")

    def _check_certificate(
        self, node: int, block_id: bytes, certificate: CommitCertificate, height: int
    ) -> None:
        """Recount a commit certificate: one round, this block, distinct members, weight, keys."""
        fault = ""
        weight = 0
        checks = []
        seen: dict[bytes, None] = {}
        for precommit in certificate.signatures:
            member = self._weights.get(precommit.voter)
            if member is None or precommit.voter in seen:
                fault = "it counts a stranger or a member twice"
                break
            seen[precommit.voter] = None
            weight += member.weight
            digest = make_ballot_digest(
                chain_id=self._genesis.chain_id,
                kind=BallotKind.PRECOMMIT,
                height=height,
                round_number=certificate.round,
                block_id=block_id,
                time_ms=precommit.time_ms,
            )
            checks.append((member.voting_key, digest, precommit.signature))
        total = sum(member.weight for member in self._genesis.members)
        if not fault and 3 * weight <= 2 * total:
            fault = f"its weight is {weight} of {total}"
        if not fault and not all(self._verifier.verify_many(checks)):
            fault = "a signature does not hold"
        if fault:
            sentence = f"node {node} decided height {height} by a bad certificate: {fault}"
            raise Violation("certificate", sentence)

    def _apply(self, block: Block, state: ChainState) -> None:
        """Follow the block in the naive ledger and compare the money counters [L6]."""
        height = block.header.height
        for position, transaction in enumerate(block.transactions):
            body = transaction.body
            txid = make_txid(body)
            if txid in self.heights:
                raise Violation("double spend", f"{txid.hex()[:16]} stands in two blocks")
            paid = 0
            for outpoint in body.inputs:
                amount = self._coins.pop(outpoint, None)
                if amount is None:
                    raise Violation(
                        "double spend",
                        f"{txid.hex()[:16]} at height {height} spends what is not there",
                    )
                paid += amount
                self._commitments.spend(outpoint)
                self.spender_of[outpoint] = txid
            made = sum(output.amount for output in body.outputs)
            for index, output in enumerate(body.outputs):
                self._coins[make_outpoint(txid, index)] = output.amount
                self._commitments.create(make_outpoint(txid, index), output.amount, output.lock)
            self.heights[txid] = height
            if not body.inputs:
                if position or not block.header.is_closing:
                    raise Violation("supply", f"height {height} makes coins out of place")
                continue
            if made > paid:
                raise Violation("supply", f"{txid.hex()[:16]} pays out more than it spends")
            self._fees += paid - made
        if block.header.is_closing:
            self._fees = 0
        total = sum(self._coins.values())
        expected = self._genesis.supply + state.issued - state.burnt
        if (
            total != state.coin_sum
            or len(self._coins) != state.coin_count
            or self._fees != state.fees_pending
            or total + self._fees != expected
        ):
            raise Violation(
                "supply",
                f"at height {height} the coins make {total} and fees {self._fees}, where "
                f"{expected} were issued and the state says {state.coin_sum}",
            )
        if block.header.is_closing:
            self._commitments.on_closing(block.header, state)


def _culprits(first: CommitCertificate, second: CommitCertificate) -> tuple[bytes, ...]:
    """Return who signed both of two commit certificates of one round [R2]."""
    if first.round != second.round:
        return ()
    others = {signature.voter: None for signature in second.signatures}
    return tuple(s.voter for s in first.signatures if s.voter in others)
