"""A member says well-signed nonsense of every shape: no step falls over and the chain goes on.

Every frame passes the ingress, so what is tried is what a real liar could bring before the core:
its own words with any content, and the words of others with other things beside them.
"""

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from lockstep.crypto.hashing import merkle_root
from lockstep.primitives.bitmap import bitmap_bytes, iterate_bits
from lockstep.primitives.block import (
    Ballot,
    BallotKind,
    BlockHeader,
    ClosingHeader,
    CompactBlock,
    InlinePart,
    NamedPart,
    make_commit_hash,
    make_evidence_root,
    make_justification_hash,
)
from lockstep.primitives.messages import (
    BatchBody,
    BlockPage,
    GetBatches,
    GetBlock,
    GetVotes,
    Message,
    ProposalMessage,
    Status,
)
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import Entry, Freeze, FreezeProof, Vote, VoteKind
from lockstep.replica.core import Core
from lockstep.replica.events import BatchReceived, PeerConnected, PeerDisconnected
from unit.replica.cluster import FEE, Cluster

LIAR = 3


class Nonsense:
    """Draws messages that the liar can sign, or can make of what it heard."""

    def __init__(self, cluster: Cluster, dice: Random) -> None:
        self.cluster = cluster
        self.dice = dice
        self.heard: list[Message] = []
        self.batch_ids = [bytes([i]) * 32 for i in range(3)]
        self.coins = iter(range(8, 32))

    def hear(self, sender: int, receiver: int, message: Message) -> bool:
        """Remember what is said, and the batches that are named; let all pass."""
        self.heard.append(message)
        del self.heard[:-300]
        if isinstance(message, Vote):
            self.batch_ids = [*self.batch_ids[-20:], message.entries[0].batch_id]
        return True

    def message(self) -> Message:
        makers = (
            self.vote,
            self.freeze,
            self.ballot,
            self.proposal,
            self.stale,
            self.batch,
            self.request,
            self.twisted,
        )
        return self.dice.choice(makers)()

    def entry(self) -> tuple[bytes, bytes]:
        length = self.dice.choice((1, 1, 1, 0, 2, 50))
        bitmap = bytes(self.dice.choice((0, 1, 3, 255)) for _ in range(length))
        return self.dice.choice(self.batch_ids), bitmap

    def number(self, near: int) -> int:
        return self.dice.choice((near, near, near + 1, max(0, near - 1), near + 7, 0, 2**31 - 1))

    def vote(self) -> Message:
        entries = [self.entry() for _ in range(self.dice.randint(1, 4))]
        epoch = self.number(self.core.state.epoch)
        return self.cluster.vote(LIAR, self.dice.choice(list(VoteKind)), *entries, epoch=epoch)

    def freeze(self) -> Message:
        entries = [self.entry() for _ in range(self.dice.randint(0, 3))]
        txids = [bytes(32)] if self.dice.random() < 0.5 else []
        epoch = self.number(self.core.state.epoch)
        return self.cluster.freeze(LIAR, *entries, txids=txids, epoch=epoch)

    def block_id(self) -> bytes | None:
        known = list(self.core.height.candidates) or [b"\x07" * 32]
        return self.dice.choice([*known, None, bytes(32)])

    def ballot(self) -> Ballot:
        kind = self.dice.choice(list(BallotKind))
        height, round_number = self.number(self.core.height.height), self.number(self.round)
        time_ms = self.dice.choice((0, 1, 2**62))
        block_id = self.block_id()
        return self.cluster.ballot(LIAR, kind, height, round_number, block_id, time_ms=time_ms)

    def polc(self) -> list[Ballot]:
        held = [m for m in self.heard if isinstance(m, Ballot)]
        ballots = [self.ballot() for _ in range(2)] + self.dice.sample(held, min(len(held), 3))
        return ballots if self.dice.random() < 0.5 else []

    def proposal(self) -> Message:
        """Propose in our own turn or out of it, a block whose body fits its header or does not."""
        height, now = self.core.height.height, self.round
        turns = [r for r in range(now, now + 8) if self.cluster.proposer_of(height, r) == LIAR]
        round_number = self.dice.choice([*turns, *turns, *turns, self.number(now)])
        valid_round = self.dice.choice((-1, -1, -1, 0, round_number - 1, round_number, 2**31 - 1))
        block = self.twist(self.block()) if self.dice.random() < 0.3 else self.block()
        return self.cluster.proposal(
            LIAR, block, round_number, valid_round=valid_round, polc=self.polc()
        )

    def block(self) -> CompactBlock:
        """Make a block of which header and body fit, and of which nothing else need be right."""
        core, dice = self.core, self.dice
        parts = self.parts(core)
        justification: tuple[FreezeProof, ...] = ()
        commit = dice.choice((core.tip_certificate,) * 4 + (None,))
        closing = None
        if core.height.height % core.genesis.closing_every == 0 or dice.random() < 0.1:
            justification = self.justification()
            closing = ClosingHeader(
                dice.choice((core.committee.set_hash, bytes(32))),
                bytes(32),
                dice.choice((b"\x07", b"\x0f", b"", b"\xff" * 9)),
                make_justification_hash(justification),
            )
        batches = {part.batch_id: core.batches[part.batch_id] for part in parts}
        leaves = [
            batches[part.batch_id].leaves[position]
            for part in parts
            for position in iterate_bits(int.from_bytes(part.bitmap, "little"))
        ]
        header = BlockHeader(
            version=1,
            chain_id=self.cluster.chain_id,
            height=core.height.height,
            previous=core.state.block_id,
            previous_closing=core.state.closing_id,
            epoch=core.state.epoch,
            time_ms=core.state.time_ms + dice.choice((1, 1, 250, 2**60)),
            transaction_root=merkle_root(leaves),
            set_hash=core.committee.set_hash,
            evidence_root=make_evidence_root(()),
            previous_commit_hash=make_commit_hash(commit),
            proposer=self.cluster.ids[dice.choice((LIAR, LIAR, LIAR, 0))],
            closing=closing,
        )
        return CompactBlock(header, commit, parts, justification, ())

    def parts(self, core: Core) -> tuple[NamedPart, ...]:
        """Name some transactions of batches that a node holds."""
        held = list(core.batches.values())
        chosen = [self.dice.choice(held) for _ in range(self.dice.randint(0, 3)) if held]
        return tuple(
            NamedPart(
                batch.batch_id,
                bitmap_bytes(self.dice.randint(1, 2 ** len(batch.txids) - 1), len(batch.txids)),
            )
            for batch in chosen
        )

    def twist(self, block: CompactBlock) -> CompactBlock:
        """Change one thing, whether it fits or not."""
        header = block.header
        inline = InlinePart((self.cluster.pay_coin(1, memo=b"inline"),))
        changes: tuple[dict[str, Any], ...] = (
            {"parts": (inline, *self.parts(self.core))},
            {"parts": (NamedPart(*self.entry()), *block.parts)},
            {"justification": self.justification()},
            {"previous_commit": None},
            {"header": replace(header, height=self.number(header.height))},
            {"header": replace(header, epoch=self.number(header.epoch))},
            {"header": replace(header, proposer=b"\x09" * 32)},
            {"header": replace(header, closing=None)},
        )
        return replace(block, **self.dice.choice(changes))

    def justification(self) -> tuple[FreezeProof, ...]:
        voters = self.dice.sample(self.cluster.ids, self.dice.randint(0, 4))
        order = sorted(voters) if self.dice.random() < 0.7 else voters
        bitmap = self.dice.choice((b"", b"\x00", b"\x01", b"\x02", b"\x00" * 9))
        held = self.core.height.freezes
        signatures = {v: copies[0].freeze.signature for v, copies in held.items() if copies}
        return tuple(FreezeProof(v, bitmap, signatures.get(v, bytes(64))) for v in order)

    def batch(self) -> Message:
        """Send a batch: garbage, a conflict, an orphan, or a good one with two spenders."""
        cluster = self.cluster
        choice = self.dice.randrange(4)
        if choice == 0:
            return BatchBody(self.dice.randbytes(50))
        if choice == 1:
            memo = self.dice.randbytes(3)
            return BatchBody(cluster.batch(cluster.pay_coin(2, memo=memo, fee=FEE)).body)
        if choice == 2:
            orphan = cluster.pay((self.dice.randbytes(32) + bytes(4), 10**9, 3))
            return BatchBody(cluster.batch(orphan).body)
        coin = next(self.coins, 2)
        pair = [cluster.pay_coin(coin, memo=bytes([i])) for i in range(2)]
        return BatchBody(cluster.batch(*pair).body)

    def request(self) -> Message:
        height = self.number(self.core.state.height)
        return self.dice.choice(
            (
                GetBatches(tuple(self.batch_ids[:3])),
                GetVotes(self.number(self.core.state.epoch), tuple(self.batch_ids[-3:])),
                GetBlock(height, self.dice.choice((0, 1, 65535))),
                Status(height, bytes(32), self.number(self.core.state.epoch)),
                BlockPage(height, 0, 1, self.dice.randbytes(20)),
            )
        )

    def stale(self) -> Message:
        return self.dice.choice(self.heard) if self.heard else self.ballot()

    def twisted(self) -> Message:
        """Pass on what an honest node said with something else in its unsigned parts."""
        message = self.stale()
        match message:
            case Freeze():
                rows = tuple(Entry(*self.entry()) for _ in range(self.dice.randint(0, 2)))
                return replace(message, entries=rows)
            case ProposalMessage(block=block):
                body = replace(self.twist(block), header=block.header)
                return replace(message, block=body, polc=tuple(self.polc()))
            case Ballot():
                return replace(message, time_ms=7)
            case _:
                return message

    @property
    def core(self) -> Core:
        return self.dice.choice(self.cluster.up()).core

    @property
    def round(self) -> int:
        driver = self.core.height.driver
        return 0 if driver is None else max(0, driver.state.round)


@pytest.mark.parametrize("seed", range(6))
def test_no_nonsense_of_one_member_stops_the_others(seed: int) -> None:
    """Whatever it says is refused or ignored, heights and payments go on [T1, T2, B2, F4]."""
    dice = Random(seed)
    cluster = Cluster(absent=[LIAR], seed=seed, closing_every=3)
    nonsense = Nonsense(cluster, dice)
    cluster.gates.append(nonsense.hear)
    for node in cluster.up():
        cluster.step(node.index, PeerConnected(cluster.peers[LIAR]))
    payments = []
    for turn in range(500):
        for _ in range(2):
            victim = dice.randrange(3)
            cluster.say(LIAR, victim, nonsense.message())
        if turn % 100 == 10:
            payments.append(cluster.pay_coin(3 + turn // 100))
            cluster.submit(turn % 3, payments[-1])
        if turn % 50 == 0:
            victim = dice.randrange(3)
            cluster.step(victim, PeerDisconnected(cluster.peers[LIAR]))
            cluster.step(victim, PeerConnected(cluster.peers[LIAR]))
        cluster.run(dice.choice((1, 5, 30)))
    height = max(node.core.state.height for node in cluster.up())
    assert height >= 3
    cluster.run_to_height(height + 4, limit_ms=30_000)
    cluster.run_until(lambda: cluster.all_final(*payments), limit_ms=10_000)
    for node in cluster.up():
        assert {peer for peer, _ in node.penalties} <= {cluster.peers[LIAR]}


@pytest.mark.parametrize("seed", range(8))
def test_lies_losses_rivals_and_crashes_together(seed: int) -> None:
    """Votes of the liar reach some and not others, and honest nodes come and go [F3, T7, D2]."""
    dice = Random(seed)
    weights = dice.choice([(1, 1, 1, 1), (4, 3, 3, 3), (2, 2, 1, 1)])
    cluster = Cluster(weights, absent=[LIAR], seed=seed, closing_every=dice.choice((2, 3)))
    nonsense = Nonsense(cluster, dice)
    loss = dice.choice((0, 5, 20))
    cluster.gates += [nonsense.hear, lambda s, r, m: dice.randrange(100) >= loss]
    join(cluster, range(3))
    made: list[Transaction] = []
    for _ in range(150):
        for _ in range(dice.randint(0, 3)):
            cluster.say(LIAR, dice.randrange(3), nonsense.message())
        if dice.random() < 0.25:
            spend_with_the_liar(cluster, dice, made)
        if dice.random() < 0.02 and len(cluster.up()) == 3:
            cluster.crash(dice.randrange(3))
        if dice.random() < 0.05:
            join(cluster, [node.index for node in cluster.nodes[:3] if node.replica is None])
        cluster.run(dice.choice((1, 5, 30, 60)))
    join(cluster, [node.index for node in cluster.nodes[:3] if node.replica is None])
    cluster.gates.pop()
    for one, other in ((0, 1), (0, 2), (1, 2)):
        cluster.reconnect(one, other)
    height = max(node.core.state.height for node in cluster.up())
    cluster.run_to_height(height + 4, limit_ms=60_000)
    for node in cluster.up():
        assert {peer for peer, _ in node.penalties} <= {cluster.peers[LIAR]}


def join(cluster: Cluster, indices: Iterable[int]) -> None:
    """Start nodes that are down, and connect the liar to them."""
    for index in indices:
        if cluster.nodes[index].replica is None:
            cluster.start(index)
        cluster.step(index, PeerConnected(cluster.peers[LIAR]))


def spend_with_the_liar(cluster: Cluster, dice: Random, made: list[Transaction]) -> None:
    """Spend a coin or an earlier payment, perhaps again; the liar votes for it before a few."""
    if made and dice.random() < 0.5:
        payment = cluster.child_of(dice.choice(made))
    else:
        payment = cluster.pay_coin(dice.randrange(3, 32), memo=dice.randbytes(1))
    made.append(payment)
    batch = cluster.batch(payment)
    for victim in dice.sample(range(3), dice.randint(1, 2)):
        cluster.step(victim, BatchReceived(dice.choice((None, cluster.peers[LIAR])), batch))
    for node in dice.sample(cluster.up(), dice.randint(1, len(cluster.up()))):
        epoch = node.core.state.epoch
        for kind in VoteKind:
            vote = cluster.vote(LIAR, kind, (batch.batch_id, b"\x01"), epoch=epoch)
            cluster.say(LIAR, node.index, vote)
