"""The words of puppets, true or not, signed with their keys; and blocks of the script's making."""

from msgspec.structs import replace

from building import GENESIS_TIME_MS, verified
from interaction.names import Names
from interaction.network import Network
from lockstep.ledger.blocks import assemble_block
from lockstep.primitives import codec
from lockstep.primitives.block import (
    BallotKind,
    Block,
    CommitCertificate,
    CommitSignature,
    CompactBlock,
    InlinePart,
    NamedPart,
    make_block_id,
)
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    DecidedBlock,
    Message,
    OwnWords,
    Status,
)
from lockstep.primitives.transaction import Batch, Transaction, VerifiedBatch
from lockstep.primitives.votes import Freeze, VoteKind
from lockstep.replica.ingress import prepare_batch
from unit.replica.cluster import FEE, VERIFIER, txid_of


class Forger:
    """Makes batches, blocks and messages in anybody's name."""

    def __init__(self, network: Network, names: Names) -> None:
        self._network = network
        self._names = names
        self._freezes: dict[int, tuple[Freeze, tuple[bytes, ...]]] = {}
        self._transactions: dict[str, tuple[Transaction, ...]] = {}

    def batch(self, name: str, payments: list[str], *, spoilt: list[str]) -> None:
        """Make a batch that nobody holds yet; the witnesses of the spoilt payments are bad."""
        rows = tuple(
            _spoil(self._names.payments[one]) if one in spoilt else self._names.payments[one]
            for one in payments
        )
        chain_id = self._network.chain_id
        body = codec.encode(Batch(transactions=rows))
        made = prepare_batch(body, chain_id=chain_id, verifier=VERIFIER)
        self._network.watch.learn(made)
        self._names.add_batch(name, made)

    def block(
        self, name: str, *, by: int, over: int, payments: list[str], j: list[int], wrong: str
    ) -> None:
        """Make the block that this member could propose over the chain of the node `over`.

        `wrong` names a field of the header that is then made wrong.
        """
        core = self._network.nodes[over].core
        rows = [verified(self._names.payments[one]) for one in payments]
        freezes = [self._freeze_of(member, over) for member in j]
        placed = {row.txid for row in rows}
        assembled = assemble_block(
            genesis=core.genesis,
            state=core.state,
            committee=core.committee,
            previous_committee=core.previous_committee,
            previous_commit=core.tip_certificate,
            payments=rows,
            fees=FEE * len(rows),
            freezes=[
                (freeze, [txid for txid in txids if txid in placed]) for freeze, txids in freezes
            ],
            proposer=self._network.ids[by],
            coins_sum=core.settled_sum,
        )
        header = assembled.header
        if wrong == "time":
            header = replace(header, time_ms=header.time_ms + 1)
        if wrong == "commitment":
            assert header.closing is not None
            header = replace(header, closing=replace(header.closing, state_commitment=bytes(32)))
        transactions = tuple(row.transaction for row in assembled.transactions)
        self._transactions[name] = transactions
        parts = tuple(self._part(transaction) for transaction in transactions)
        self._names.add_block(
            name,
            CompactBlock(header, assembled.previous_commit, parts, assembled.justification, ()),
        )

    def _part(self, transaction: Transaction) -> NamedPart | InlinePart:
        """Name a transaction by a batch that has it, or put it inline like the coinbase [T2]."""
        txid = txid_of(transaction)
        for batch in self._names.batches.values():
            if txid in batch.txids:
                return NamedPart(batch.batch_id, bitmap_of(batch, [txid]))
        return InlinePart((transaction,))

    def word(self, member: int, words: list[str], options: dict[str, str]) -> Message:
        """Make a message in a member's name."""
        match words:
            case ["vote" | "confirm" as kind, *payments]:
                batch = self._batch_of(payments[0], options)
                epoch = int(options.get("epoch", "0"))
                txids = [txid_of(self._names.payments[one]) for one in payments]
                bitmap = bytes.fromhex(options.get("bitmap", "")) or bitmap_of(batch, txids)
                entry = (batch.batch_id, bitmap)
                return self._network.vote(member, VoteKind[kind.upper()], entry, epoch=epoch)
            case ["freeze", *payments]:
                return self._freeze(member, payments, options)
            case ["propose", name]:
                return self._proposal(member, name, options)
            case ["prevote" | "precommit" as kind, name]:
                return self._ballot(member, BallotKind[kind.upper()], name, options)
            case ["batch", "garbage"]:
                return BatchBody(b"\xc1garbage")
            case ["batch", name]:
                return BatchBody(self._names.batches[name].body)
            case ["status", height]:
                return Status(int(height), bytes(32), int(options.get("epoch", "0")))
            case ["knows", "nothing"]:
                return self._nothing(options)
            case ["decided", name]:
                return self._decided(name, options)
            case _:
                raise AssertionError(f"no such word: {' '.join(words)}")

    def _nothing(self, options: dict[str, str]) -> Message:
        """Make the answer of one who holds no word of a node's key [D3]."""
        core = self._network.nodes[int(options["of"])].core
        state, question = core.state, core.silence.question
        return OwnWords(question, state.height, state.epoch, 0, 1, (), (), (), ())

    def _batch_of(self, payment: str, options: dict[str, str]) -> VerifiedBatch:
        if "in" in options:
            return self._names.batches[options["in"]]
        txid = txid_of(self._names.payments[payment])
        return next(batch for batch in self._names.batches.values() if txid in batch.txids)

    def _freeze(self, member: int, payments: list[str], options: dict[str, str]) -> Freeze:
        txids = tuple(txid_of(self._names.payments[one]) for one in payments)
        entries = []
        for one, txid in zip(payments, txids, strict=True):
            batch = self._batch_of(one, options)
            entries.append((batch.batch_id, bitmap_of(batch, [txid])))
        epoch = int(options.get("epoch", "0"))
        if "of" in options:
            # Only the hash of the list is signed: anybody can put another list beside it.
            signer = int(options["of"])
            made = self._network.freeze(signer, *entries, txids=(), epoch=epoch)
        else:
            made = self._network.freeze(member, *entries, txids=txids, epoch=epoch)
            self._freezes[member] = (made, txids)
        return made

    def _freeze_of(self, member: int, over: int) -> tuple[Freeze, tuple[bytes, ...]]:
        """Return a member's FREEZE with its list: what a puppet said, or what the node holds."""
        if member in self._freezes:
            return self._freezes[member]
        copy = self._network.nodes[over].core.height.usable[self._network.ids[member]]
        assert copy.txids is not None
        return copy.freeze, copy.txids

    def _proposal(self, member: int, name: str, options: dict[str, str]) -> Message:
        block = self._names.blocks[name]
        height, round_number = _place(options)
        assert height == block.header.height
        valid_round = int(options.get("valid", "-1"))
        voters = _numbers(options.get("polc", ""))
        block_id = make_block_id(block.header)
        polc = [
            self._network.ballot(voter, BallotKind.PREVOTE, height, valid_round, block_id)
            for voter in voters
        ]
        return self._network.proposal(
            member, block, round_number, valid_round=valid_round, polc=polc
        )

    def _ballot(self, member: int, kind: BallotKind, name: str, options: dict[str, str]) -> Message:
        height, round_number = _place(options)
        block_id, time_ms = None, 0
        if name != "nil":
            header = self._names.blocks[name].header
            block_id = make_block_id(header)
            if kind is BallotKind.PRECOMMIT:
                time_ms = max(GENESIS_TIME_MS + self._network.now, header.time_ms + 1)
        return self._network.ballot(member, kind, height, round_number, block_id, time_ms=time_ms)

    def _decided(self, name: str, options: dict[str, str]) -> Message:
        """Make the page that holds a block with the commit certificate of some members."""
        compact = self._names.blocks[name]
        height, block_id = compact.header.height, make_block_id(compact.header)
        round_number = int(options.get("round", "0"))
        ballots = [
            self._network.ballot(
                signer,
                BallotKind.PRECOMMIT,
                height,
                round_number,
                block_id,
                time_ms=compact.header.time_ms + 1,
            )
            for signer in _numbers(options["by"])
        ]
        signatures = tuple(CommitSignature(b.voter, b.time_ms, b.signature) for b in ballots)
        block = Block(
            header=compact.header,
            previous_commit=compact.previous_commit,
            transactions=self._transactions[name],
            justification=compact.justification,
            evidence=(),
        )
        certificate = CommitCertificate(height, round_number, block_id, signatures)
        return BlockPage(height, 0, 1, codec.encode(DecidedBlock(block, certificate)))


def bitmap_of(batch: VerifiedBatch, txids: list[bytes]) -> bytes:
    """Return the bitmap of these transactions over their batch [B2]."""
    bits = sum(1 << batch.txids.index(txid) for txid in txids)
    return bits.to_bytes((len(batch.txids) + 7) // 8, "little")


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _place(options: dict[str, str]) -> tuple[int, int]:
    height, round_number = options["at"].split("/")
    return int(height), int(round_number)


def _spoil(payment: Transaction) -> Transaction:
    """Return the payment with a bad witness: the same txid, another leaf."""
    witness = payment.witnesses[0]
    bad = replace(witness, signatures=(bytes(64),))
    return replace(payment, witnesses=(bad, *payment.witnesses[1:]))
