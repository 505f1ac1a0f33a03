"""Methods on the chain and its blocks. What they answer is synced: they read the database alone."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, field
from msgspec.structs import asdict

from lockstep.errors import Misuse
from lockstep.primitives import codec
from lockstep.primitives.block import Block, CommitCertificate, make_commit_hash
from lockstep.primitives.evidence import decode_evidence
from lockstep.primitives.genesis import format_genesis
from lockstep.primitives.messages import DecidedBlock
from lockstep.primitives.transaction import make_txid
from lockstep.rpc.faults import NotFound
from lockstep.rpc.service import NodeService
from lockstep.rpc.shapes import HexHash, TransactionAnswer, describe_transaction

Height = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Verbosity = Annotated[int, Meta(ge=0, le=2)]


class ChainAnswer(Struct, frozen=True):
    """The chain at a glance."""

    chain: str
    chain_id: str
    blocks: int
    headers: int
    bestblockhash: str
    time: int
    time_ms: int
    epoch: int
    closing_every: int
    next_closing: int
    initialblockdownload: bool
    pruned: bool
    warnings: list[str]


class SignatureAnswer(Struct, frozen=True):
    """One member's precommit in a commit certificate."""

    voter: str
    time_ms: int
    signature: str


class CertificateAnswer(Struct, frozen=True):
    """The precommits that decided a block; `hex` is their canonical encoding."""

    round: int
    hash: str
    signatures: list[SignatureAnswer]
    hex: str


class ClosingAnswer(Struct, frozen=True):
    """What a closing header says in addition."""

    next_set_hash: str
    state_commitment: str
    justification_members: str
    justification_hash: str


class HeaderAnswer(Struct, frozen=True):
    """A block's header in words."""

    hash: str
    confirmations: int
    height: int
    version: int
    chain_id: str
    previousblockhash: str
    previous_closing: str
    epoch: int
    closing: ClosingAnswer | None
    time: int
    time_ms: int
    merkleroot: str
    set_hash: str
    evidence_root: str
    previous_commit_hash: str
    proposer: str
    nextblockhash: str | UnsetType = UNSET


class EvidenceAnswer(Struct, frozen=True):
    """Evidence in a block: against which member, for which epoch, and of what."""

    kind: str
    member: str
    epoch: int


class BlockAnswer(HeaderAnswer, frozen=True, kw_only=True):
    """A header and its block: `tx` holds txids, or whole transactions at verbosity 2."""

    size: int
    transaction_count: int = field(name="nTx")
    tx: list[str | TransactionAnswer]
    justification: list[str]
    evidence: list[EvidenceAnswer]
    certificate: CertificateAnswer


class GenesisCoin(Struct, frozen=True):
    """A first coin."""

    amount: int
    lock: str


class GenesisMemberAnswer(Struct, frozen=True):
    """A masternode of the first epoch."""

    voting_key: str
    node_key: str
    weight: int
    payout_lock: str


class GenesisAnswer(Struct, frozen=True):
    """What the chain started from; `file` is the genesis file's text."""

    chain_id: str
    network: str
    address_prefix: str
    time_ms: int
    closing_every: int
    block_interval_ms: int
    idle_interval_ms: int
    members: list[GenesisMemberAnswer]
    coins: int
    supply_units: int
    file: str


async def getblockchaininfo(service: NodeService) -> ChainAnswer:
    """Return the network, the tip, and where the epoch stands."""
    state = service.readers.state()
    genesis = service.view.genesis
    catching_up = service.view.consensus().catching_up
    every = genesis.closing_every
    return ChainAnswer(
        chain=genesis.network,
        chain_id=service.view.chain_id.hex(),
        blocks=state.height,
        headers=state.height,
        bestblockhash=state.block_id.hex(),
        time=state.time_ms // 1000,
        time_ms=state.time_ms,
        epoch=state.epoch,
        closing_every=every,
        next_closing=(state.height // every + 1) * every,
        initialblockdownload=catching_up,
        pruned=False,
        warnings=[reason.message for reason in service.reasons()],
    )


async def getblockcount(service: NodeService) -> int:
    """Return the height of the tip."""
    return service.readers.state().height


async def getbestblockhash(service: NodeService) -> str:
    """Return the id of the tip; the chain id when there is no block yet."""
    return service.readers.state().block_id.hex()


async def getblockhash(service: NodeService, height: Height) -> str:
    """Return the id of the block at a height; the chain id at height 0."""
    if height == 0:
        return service.view.chain_id.hex()
    certificate = service.certificate_at(height)
    if certificate is None:
        tip = service.readers.state().height
        raise NotFound(f"there is no block at height {height}; the tip is at {tip}")
    return certificate.block_id.hex()


async def getblock(
    service: NodeService, blockhash: HexHash, *, verbosity: bool | Verbosity = 1
) -> str | BlockAnswer:
    """Return a block: canonical bytes as hex at verbosity 0, words at 1, with transactions at 2."""
    decided = _find_block(service, blockhash)
    if int(verbosity) == 0:
        return codec.encode(decided.block).hex()
    block = decided.block
    header = _describe_header(service, decided)
    prefix = service.params.address_prefix
    whole = int(verbosity) == 2
    return BlockAnswer(
        **asdict(header),
        size=len(codec.encode(block)),
        transaction_count=len(block.transactions),
        tx=[
            describe_transaction(transaction, prefix)
            if whole
            else make_txid(transaction.body).hex()
            for transaction in block.transactions
        ],
        justification=[proof.voter.hex() for proof in block.justification],
        evidence=[_describe_evidence(piece) for piece in block.evidence],
        certificate=describe_certificate(decided.certificate),
    )


async def getblockheader(
    service: NodeService, blockhash: HexHash, *, verbose: bool = True
) -> str | HeaderAnswer:
    """Return a block's header in words, or its canonical bytes as hex."""
    decided = _find_block(service, blockhash)
    if not verbose:
        return codec.encode(decided.block.header).hex()
    return _describe_header(service, decided)


async def getgenesis(service: NodeService) -> GenesisAnswer:
    """Return what the chain started from, and the genesis file itself."""
    genesis = service.view.genesis
    return GenesisAnswer(
        chain_id=service.view.chain_id.hex(),
        network=genesis.network,
        address_prefix=service.params.address_prefix,
        time_ms=genesis.time_ms,
        closing_every=genesis.closing_every,
        block_interval_ms=genesis.block_interval_ms,
        idle_interval_ms=genesis.idle_interval_ms,
        members=[
            GenesisMemberAnswer(
                member.voting_key.hex(),
                member.node_key.hex(),
                member.weight,
                member.payout_lock.hex(),
            )
            for member in genesis.members
        ],
        coins=len(genesis.coins),
        supply_units=genesis.supply,
        file=format_genesis(genesis).decode(),
    )


def describe_certificate(certificate: CommitCertificate) -> CertificateAnswer:
    """Put a commit certificate into words."""
    return CertificateAnswer(
        round=certificate.round,
        hash=make_commit_hash(certificate).hex(),
        signatures=[
            SignatureAnswer(row.voter.hex(), row.time_ms, row.signature.hex())
            for row in certificate.signatures
        ],
        hex=codec.encode(certificate).hex(),
    )


def _find_block(service: NodeService, blockhash: str) -> DecidedBlock:
    height = service.readers.height_of_block(bytes.fromhex(blockhash))
    if height is None:
        raise NotFound(f"no block is named {blockhash}")
    decided = service.readers.decided(height)
    if decided is None:
        raise Misuse(f"the block at height {height} is indexed and not stored")
    return decided


def _describe_header(service: NodeService, decided: DecidedBlock) -> HeaderAnswer:
    block: Block = decided.block
    header = block.header
    following = service.certificate_at(header.height + 1)
    closing = header.closing
    return HeaderAnswer(
        hash=decided.certificate.block_id.hex(),
        confirmations=service.readers.state().height - header.height + 1,
        height=header.height,
        version=header.version,
        chain_id=header.chain_id.hex(),
        previousblockhash=header.previous.hex(),
        previous_closing=header.previous_closing.hex(),
        epoch=header.epoch,
        closing=None
        if closing is None
        else ClosingAnswer(
            next_set_hash=closing.next_set_hash.hex(),
            state_commitment=closing.state_commitment.hex(),
            justification_members=closing.justification_members.hex(),
            justification_hash=closing.justification_hash.hex(),
        ),
        time=header.time_ms // 1000,
        time_ms=header.time_ms,
        merkleroot=header.transaction_root.hex(),
        set_hash=header.set_hash.hex(),
        evidence_root=header.evidence_root.hex(),
        previous_commit_hash=header.previous_commit_hash.hex(),
        proposer=header.proposer.hex(),
        nextblockhash=UNSET if following is None else following.block_id.hex(),
    )


def _describe_evidence(piece: bytes) -> EvidenceAnswer:
    evidence = decode_evidence(piece)
    return EvidenceAnswer(type(evidence).__name__, evidence.member.hex(), evidence.epoch)
