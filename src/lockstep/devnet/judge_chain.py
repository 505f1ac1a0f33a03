"""The judge of chains: one chain on all nodes, and the state that follows from it on each.

The chain is replayed from genesis by the rules, and the money is counted once more in the plainest
way, so that a counter of the ledger is not believed because the ledger says so [L6].
"""

from collections.abc import Mapping, Sequence

from lockstep.crypto.keys import Verifier
from lockstep.crypto.lattice_hash import EMPTY_SUM
from lockstep.devnet.judge_commitment import rebuild_commitment
from lockstep.devnet.judge_payments import PaymentIndex
from lockstep.devnet.remains import NodeRemains
from lockstep.errors import LockstepError, Rejected
from lockstep.ledger.blocks import AssembledBlock, check_block
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.commitment import add_coins
from lockstep.ledger.masternodes import committee_of_epoch
from lockstep.ledger.rewards import verify_coinbase
from lockstep.ledger.settlement import due_commitment
from lockstep.ledger.state import SupplyBroken, initial_state
from lockstep.primitives.block import Block, CommitCertificate, make_block_id
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import VerifiedTransaction
from lockstep.replica.signatures import certificate_checks
from lockstep.replica.witnesses import verify_transaction


class BadCertificate(Rejected):
    """A block was decided by less than a quorum, or by signatures that do not hold."""

    code = "judge.certificate"


class Committees:
    """The committees of a chain, as signatures are looked up."""

    def __init__(self, genesis: Genesis) -> None:
        """Read them from the genesis."""
        self._genesis = genesis

    def committee_for_epoch(self, epoch: int) -> Committee:
        """Return the committee of an epoch."""
        return committee_of_epoch(self._genesis, epoch)

    def committee_for_height(self, height: int) -> Committee:
        """Return the committee that signs a height [M4]."""
        return committee_of_epoch(self._genesis, (height - 1) // self._genesis.closing_every)


class PlainMoney:
    """Money counted by looking at amounts alone: what blocks pay in, pay out and make."""

    def __init__(self) -> None:
        """Begin at genesis, where nothing was made and no fee is due."""
        self.fees = 0
        self.made = 0

    def add(self, block: Block, spent: Mapping[bytes, int]) -> None:
        """Count a block; `spent` has the amounts of the coins that its payments spend."""
        for transaction in block.transactions:
            paid_out = sum(output.amount for output in transaction.body.outputs)
            if transaction.body.inputs:
                self.fees += sum(spent[o] for o in transaction.body.inputs) - paid_out
            else:
                self.made += paid_out
        if block.header.is_closing:
            self.made -= self.fees
            self.fees = 0


class Replay:
    """The longest chain any node holds, replayed; a `CoinView` of its coins.

    Attributes:
        state: The state above the last good block.
        closing_blocks: How many epochs ended.
        heights: Height of each transaction by txid.
        spenders: Txid that spent each outpoint.
        block_ids: Block ids by height, the chain id at 0.
        divergences: What is not the same on all nodes, in sentences.
        losses: Money that was made or lost, in sentences.
        commitments: To the state above genesis and each closing block, by height [S1].
        forgotten: Nodes whose rows do not make up what the chain commits to, in sentences.
    """

    def __init__(self, genesis: Genesis, verifier: Verifier) -> None:
        """Begin at genesis."""
        self._genesis = genesis
        self._verifier = verifier
        self._committees = Committees(genesis)
        self._money = PlainMoney()
        self._coins = {
            genesis_outpoint(genesis.chain_id, index): Coin(output.amount, output.lock, 0)
            for index, output in enumerate(genesis.coins)
        }
        self._amounts = {outpoint: coin.amount for outpoint, coin in self._coins.items()}
        self.state = initial_state(genesis)
        self._settled_sum = self.state.coins_sum
        self.closing_blocks = 0
        self.heights: dict[bytes, int] = {}
        self.spenders: dict[bytes, bytes] = {}
        self.block_ids = [genesis.chain_id]
        self.divergences: list[str] = []
        self.losses: list[str] = []
        self.forgotten: list[str] = []
        self.commitments = {0: due_commitment(genesis, self.state, self._settled_sum)}

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        """Return the coin of each outpoint, None where it is spent or unknown."""
        return [self._coins.get(outpoint) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:
        """Return the height of the block that holds this transaction, or None."""
        return self.heights.get(txid)

    def run(self, nodes: Sequence[NodeRemains], payments: PaymentIndex) -> None:
        """Replay the chain of the highest node and hold every node against it.

        A block that does not follow ends the replay: nothing above it can be judged.
        """
        tallest = max(nodes, key=lambda node: node.state.height)
        self._compare(nodes)
        while self.state.height < tallest.state.height:
            height = self.state.height + 1
            decided = tallest.decided(height)
            if decided is None:
                self.divergences.append(f"{tallest.name} lacks its own block {height}")
                return
            try:
                self._apply(decided)
            except SupplyBroken as fault:
                self.losses.append(f"block {height} on {tallest.name}: {fault}")
                return
            except LockstepError as fault:
                self.divergences.append(f"block {height} on {tallest.name} is invalid: {fault}")
                return
            payments.add_transactions(decided.block.transactions)
            for node in nodes:
                if node is not tallest and node.state.height >= height:
                    self._compare_block(node, decided)
            self._compare(nodes)

    def _apply(self, decided: DecidedBlock) -> None:
        """Follow one block by the rules [T2, T4, T7]; nothing is changed if it is refused."""
        block, height = decided.block, self.state.height + 1
        committee = self._committees.committee_for_height(height)
        self._check_certificate(decided.certificate, make_block_id(block.header), committee)
        transactions = self._verify(block)
        delta, state = check_block(
            AssembledBlock(
                block.header,
                block.previous_commit,
                transactions,
                block.justification,
                block.evidence,
            ),
            genesis=self._genesis,
            state=self.state,
            committee=committee,
            previous_committee=self._committees.committee_for_height(height - 1)
            if self.state.height
            else None,
            view=self,
            verifier=self._verifier,
            certified=True,
            coins_sum=self._settled_sum,
        )
        self._count_money(block, delta, transactions)
        self.state = state
        if block.header.is_closing:
            self.closing_blocks += 1
            self._settled_sum = add_coins(EMPTY_SUM, created=self._coins.items())
            self.commitments[state.height] = due_commitment(self._genesis, state, self._settled_sum)
        self.block_ids.append(state.block_id)

    def _count_money(
        self, block: Block, delta: CoinDelta, transactions: Sequence[VerifiedTransaction]
    ) -> None:
        height = block.header.height
        for outpoint, _ in delta.spent:
            del self._coins[outpoint]
        self._coins.update(delta.created)
        for verified in transactions:
            self.heights[verified.txid] = height
            for index, output in enumerate(verified.transaction.body.outputs):
                self._amounts[verified.txid + index.to_bytes(4, "big")] = output.amount
        spent = {}
        for verified in transactions:
            for outpoint in verified.transaction.body.inputs:
                self.spenders[outpoint] = verified.txid
                spent[outpoint] = self._amounts.pop(outpoint)
        self._money.add(block, spent)

    def _verify(self, block: Block) -> tuple[VerifiedTransaction, ...]:
        chain_id, verifier = self._genesis.chain_id, self._verifier
        return tuple(
            verify_transaction(transaction, chain_id=chain_id, verifier=verifier)
            if transaction.body.inputs
            else verify_coinbase(transaction)
            for transaction in block.transactions
        )

    def _check_certificate(
        self, certificate: CommitCertificate, block_id: bytes, committee: Committee
    ) -> None:
        voters = dict.fromkeys(precommit.voter for precommit in certificate.signatures)
        weight = committee.weight_of_ids(voters)
        checks = certificate_checks(
            certificate, lookup=self._committees, chain_id=self._genesis.chain_id
        )
        if certificate.block_id != block_id or len(voters) != len(certificate.signatures):
            raise BadCertificate("its certificate is another block's, or counts a member twice")
        if weight < committee.quorum or not all(self._verifier.verify_many(checks)):
            raise BadCertificate(f"weight {weight} decided it, a quorum is {committee.quorum}")

    def _compare_block(self, node: NodeRemains, decided: DecidedBlock) -> None:
        """Hold a node's block against ours; precommits may be other ones of the same quorum."""
        height = decided.block.header.height
        found = node.decided(height)
        if found is None or found.block != decided.block:
            self.divergences.append(f"{node.name} has another block {height}")

    def _compare(self, nodes: Sequence[NodeRemains]) -> None:
        """Hold the nodes that stopped at this height against the replay, and count their money."""
        for node in nodes:
            if node.state.height != self.state.height:
                continue
            coins = node.coins()
            if node.state != self.state or coins != self._coins:
                self.divergences.append(
                    f"{node.name} holds another state of height {self.state.height}"
                )
            height, commitment = rebuild_commitment(node, self._genesis)
            if self.commitments.get(height) != commitment:
                self.forgotten.append(
                    f"{node.name} has not what makes up the commitment to height {height}"
                )
            total = sum(coin.amount for coin in coins.values()) + self._money.fees
            due = self._genesis.supply + self._money.made
            if total != due or self.state.issued - self.state.burnt != self._money.made:
                self.losses.append(
                    f"{node.name} holds {total} base units at height {self.state.height}, "
                    f"{due} were ever made"
                )
