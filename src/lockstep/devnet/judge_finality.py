"""The judge of promises: what was called final had a quorum, has no rival, and still is [F4]."""

from collections.abc import Iterable, Sequence

from lockstep.crypto.keys import Verifier
from lockstep.devnet.judge_chain import Committees, Replay
from lockstep.devnet.judge_payments import PaymentIndex
from lockstep.devnet.remains import BlockAnnounced, FinalAnnounced, NodeRemains
from lockstep.errors import LockstepError
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import OwnConfirm, QuorumConfirmed
from lockstep.replica.signatures import vote_check


class Promises:
    """All payments that any node ever called final.

    Attributes:
        without_quorum: Payments called final below a verified quorum, in sentences.
    """

    def __init__(
        self, genesis: Genesis, payments: PaymentIndex, chain: Replay, verifier: Verifier
    ) -> None:
        """Begin with no promise; `chain` has been replayed."""
        self._chain_id = genesis.chain_id
        self._committees = Committees(genesis)
        self._payments = payments
        self._chain = chain
        self._verifier = verifier
        self._verdicts: dict[Vote, bool] = {}
        self._promised: dict[bytes, str] = {}
        self.without_quorum: list[str] = []

    def hear(self, node: NodeRemains) -> None:
        """Take in and recount everything a node called final."""
        for announced in node.announced():
            for txid in announced.txids:
                # A coinbase spends nothing: nobody was promised it, it comes with its block.
                if self._payments.inputs_of(txid) or txid not in self._chain.heights:
                    self._promised.setdefault(txid, node.name)
            if isinstance(announced, FinalAnnounced):
                self._recount(node, announced)
            else:
                self._look_up(node, announced)

    def rivals(self) -> list[str]:
        """Return a sentence for every pair of payments of one coin that were both called final."""
        found = []
        spender: dict[bytes, bytes] = {}
        for txid in self._promised:
            for outpoint in self._payments.inputs_of(txid):
                other = spender.setdefault(outpoint, txid)
                if other != txid:
                    found.append(f"{txid.hex()} and {other.hex()} spend one coin; both were final")
                    break
        return found

    def lost(self, nodes: Sequence[NodeRemains]) -> list[str]:
        """Return a sentence for every promised payment that is not final on each node now."""
        held = [(node, self._held(node)) for node in nodes]
        found = []
        for txid, promiser in self._promised.items():
            missing = [
                node.name
                for node, live in held
                if txid not in live and node.height_of(txid) is None
            ]
            if missing:
                found.append(
                    f"{txid.hex()}, final by {promiser}, is not final on {', '.join(missing)}"
                )
        return found

    def _held(self, node: NodeRemains) -> dict[bytes, None]:
        """Return what a node's journal holds as final in the epoch it stopped in."""
        epoch = node.state.epoch
        confirms: list[Vote] = []
        for record in node.journal:
            if isinstance(record, OwnConfirm):
                confirms.append(record.confirm)
            elif isinstance(record, QuorumConfirmed):
                confirms += record.confirms
        quorum = self._committees.committee_for_epoch(epoch).quorum
        weights = self._weigh(confirms, epoch)
        return dict.fromkeys(txid for txid, weight in weights.items() if weight >= quorum)

    def _recount(self, node: NodeRemains, announced: FinalAnnounced) -> None:
        quorum = self._committees.committee_for_epoch(announced.epoch).quorum
        weights = self._weigh(announced.confirms, announced.epoch)
        for txid in announced.txids:
            weight = weights.get(txid, 0)
            if weight < quorum:
                self.without_quorum.append(
                    f"{node.name} called {txid.hex()} final in epoch {announced.epoch} by weight "
                    f"{weight}, a quorum is {quorum}"
                )

    def _look_up(self, node: NodeRemains, announced: BlockAnnounced) -> None:
        """Look whether the block is decided and the payments are in it."""
        height = announced.height
        known = height < len(self._chain.block_ids)
        if not known or self._chain.block_ids[height] != announced.block_id:
            self.without_quorum.append(
                f"{node.name} announced a block of height {height} that was not decided"
            )
            return
        for txid in announced.txids:
            if self._chain.heights.get(txid) != height:
                self.without_quorum.append(
                    f"{node.name} placed {txid.hex()} in block {height}, where it is not"
                )

    def _weigh(self, confirms: Iterable[Vote], epoch: int) -> dict[bytes, int]:
        """Add up good Confirms of one epoch by payment, each member once [M1, M2]."""
        committee = self._committees.committee_for_epoch(epoch)
        counted: dict[tuple[bytes, bytes], None] = {}
        weights: dict[bytes, int] = {}
        for confirm in confirms:
            if confirm.epoch != epoch or not self._holds(confirm):
                continue
            weight = committee.weight_of(confirm.voter)
            for txid in self._payments.txids_of(confirm):
                if (confirm.voter, txid) not in counted:
                    counted[confirm.voter, txid] = None
                    weights[txid] = weights.get(txid, 0) + weight
        return weights

    def _holds(self, confirm: Vote) -> bool:
        verdict = self._verdicts.get(confirm)
        if verdict is None:
            verdict = confirm.kind is VoteKind.CONFIRM and self._verify(confirm)
            self._verdicts[confirm] = verdict
        return verdict

    def _verify(self, confirm: Vote) -> bool:
        try:
            check = vote_check(confirm, lookup=self._committees, chain_id=self._chain_id)
        except LockstepError:
            return False
        return all(self._verifier.verify_many([check]))
