"""Checks on what is called final: a true quorum, no rival, and never taken back [F4, T7]."""

from collections.abc import Mapping, Sequence

from lockstep.crypto.keys import Verifier
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import VoteKind, make_vote_digest
from lockstep.replica.effects import TransactionsFinal
from lockstep.replica.view import ReplicaView
from lockstep.sim.chain_checker import ChainChecker
from lockstep.sim.promise_checker import PromiseChecker
from lockstep.sim.violation import Violation


class FinalityChecker:
    """Every payment that any honest node ever called final."""

    def __init__(
        self,
        genesis: Genesis,
        verifier: Verifier,
        transactions: Mapping[bytes, Transaction],
        chain: ChainChecker,
        promises: PromiseChecker,
    ) -> None:
        """Recount against the genesis set; look transactions up by txid."""
        self.final: dict[bytes, int] = {}
        self._told: dict[int, dict[bytes, None]] = {}
        self._genesis = genesis
        self._verifier = verifier
        self._transactions = transactions
        self._chain = chain
        self._promises = promises
        self._members = {m.member_id: m for m in genesis.committee.members}
        self._total = sum(member.weight for member in genesis.members)
        self._spender_of: dict[bytes, bytes] = {}
        self._of_epoch: dict[int, list[bytes]] = {}
        self._good: dict[bytes, None] = {}
        self._voters: dict[bytes, dict[bytes, None]] = {}

    def on_final(self, node: int, notice: TransactionsFinal) -> None:
        """Recount a notice from its Confirms, and look for rivals final or decided anywhere."""
        weights = dict.fromkeys(notice.txids, 0)
        counted: dict[tuple[bytes, bytes], None] = {}
        for confirm in notice.confirms:
            member = self._members.get(confirm.voter)
            if member is None or confirm.kind is not VoteKind.CONFIRM:
                raise Violation("quorum", f"node {node} counts what is no member's Confirm")
            if confirm.epoch != notice.epoch:
                raise Violation("quorum", f"node {node} adds Confirms of two epochs")
            if confirm.signature not in self._good:
                digest = make_vote_digest(
                    chain_id=self._genesis.chain_id,
                    kind=confirm.kind,
                    epoch=confirm.epoch,
                    entries=confirm.entries,
                )
                check = (member.voting_key, digest, confirm.signature)
                if not all(self._verifier.verify_many([check])):
                    raise Violation("quorum", f"node {node} counts a Confirm nobody signed")
                self._good[confirm.signature] = None
            for txid in self._promises.txids_of(confirm):
                if txid in weights and (confirm.voter, txid) not in counted:
                    counted[confirm.voter, txid] = None
                    weights[txid] += member.weight
                    self._voters.setdefault(txid, {})[confirm.voter] = None
        for txid, weight in weights.items():
            if 3 * weight <= 2 * self._total:
                raise Violation(
                    "quorum",
                    f"node {node} calls {txid.hex()[:16]} final by {weight} of {self._total}",
                )
            if txid not in self.final:
                self._add(txid, notice.epoch)

    def on_told(self, node: int, notice: TransactionsFinal) -> None:
        """Remember what a node told its people, which it must stand by for ever."""
        self._told.setdefault(node, {}).update(dict.fromkeys(notice.txids))

    def on_block(self, height: int, epoch: int, *, is_closing: bool) -> None:
        """Look at the first decision of a height: no rival in it, and nothing final left out."""
        for outpoint, txid in self._spender_of.items():
            if self._chain.spender_of.get(outpoint, txid) != txid:
                raise Violation("finality", f"a rival of final {txid.hex()[:16]} was decided")
        if not is_closing:
            return
        self._spender_of = {}
        for txid in self._of_epoch.get(epoch, ()):
            if txid not in self._chain.heights:
                sentence = f"{txid.hex()[:16]}, final in epoch {epoch}, is not in the chain"
                raise Violation("finality", f"{sentence} at its closing height {height}")

    def check_certified(self, epoch: int, txids: Sequence[bytes]) -> None:
        """Look whether everything in an ordinary block has Votes of quorum weight [T4]."""
        for txid in txids:
            weight = sum(
                member.weight
                for member_id, member in self._members.items()
                if self._promises.has_said(member_id, epoch, VoteKind.VOTE, txid)
            )
            if 3 * weight <= 2 * self._total:
                sentence = f"uncertified {txid.hex()[:16]} stands in an ordinary block"
                raise Violation("certified", f"{sentence} of epoch {epoch}")

    def on_disk_lost(self, node: int) -> None:
        """Take it that a node lost its disk: what it told its people it knows no more."""
        self._told.pop(node, None)

    def on_recovered(self, node: int, view: ReplicaView) -> None:
        """Look whether a node that is back still calls final what it told its people."""
        for txid in self._told.get(node, ()):
            if not view.is_final(txid) and view.height_of(txid) is None:
                raise Violation("finality", f"node {node} forgot that {txid.hex()[:16]} is final")

    def _add(self, txid: bytes, epoch: int) -> None:
        self.final[txid] = epoch
        closed = (self._chain.height // self._genesis.closing_every) - 1
        if epoch <= closed:
            if txid not in self._chain.heights:
                sentence = f"{txid.hex()[:16]} became final after epoch {epoch} closed without it"
                raise Violation("finality", sentence)
            return
        self._of_epoch.setdefault(epoch, []).append(txid)
        for outpoint in self._transactions[txid].body.inputs:
            rival = self._spender_of.setdefault(outpoint, txid)
            if rival == txid:
                rival = self._chain.spender_of.get(outpoint, txid)
            if rival != txid:
                sentence = f"{txid.hex()[:16]} and {rival.hex()[:16]} are final or decided"
                raise Violation("finality", sentence, self._culprits(txid, rival))

    def _culprits(self, txid: bytes, rival: bytes) -> tuple[bytes, ...]:
        """Return who confirmed both of two rivals in one epoch, where both have Confirms [R2]."""
        if self.final.get(rival) != self.final.get(txid):
            return ()
        others = self._voters.get(rival, {})
        return tuple(voter for voter in self._voters.get(txid, {}) if voter in others)
