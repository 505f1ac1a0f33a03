"""A world: nodes with the real core under one clock and one seed, watched by the checkers.

First faults strike and only safety is asked for; then everything is healed and the world has a
bounded time to become level, with every payment decided. No I/O, no clock but its own, and dice
made from the seed only: equal seeds and options give equal worlds.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from lockstep.crypto.keys import SecretKey, Signer, SodiumVerifier, Verifier
from lockstep.errors import LockstepError
from lockstep.primitives.committee import make_member_id
from lockstep.primitives.genesis import Genesis, GenesisMember
from lockstep.primitives.messages import Message
from lockstep.primitives.params import DEVNET
from lockstep.primitives.transaction import TransactionOutput, make_single_lock
from lockstep.primitives.votes import VoteKind
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    BlockDecided,
    Effect,
    EvidenceHeld,
    Notice,
    Notify,
    Persist,
    TransactionsFinal,
)
from lockstep.sim.bounds import check_bounds
from lockstep.sim.chain_checker import ChainChecker
from lockstep.sim.clients import COIN_AMOUNT, Clients
from lockstep.sim.clock import Clock
from lockstep.sim.dice import make_dice
from lockstep.sim.evidence_checker import EvidenceChecker
from lockstep.sim.faults import Faults
from lockstep.sim.finality_checker import FinalityChecker
from lockstep.sim.host import Host
from lockstep.sim.keyed_hash import KeyedHashSigner, KeyedHashVerifier
from lockstep.sim.links import Links
from lockstep.sim.listening_host import ListeningHost
from lockstep.sim.liveness import Progress
from lockstep.sim.masks.casting import Cast
from lockstep.sim.masks.witness import MaskedWords
from lockstep.sim.network import Network
from lockstep.sim.options import HEALING_LIMIT_MS, Options
from lockstep.sim.outcome import Outcome, Verdict
from lockstep.sim.promise_checker import PromiseChecker
from lockstep.sim.surroundings import Surroundings
from lockstep.sim.tape import Sink, Tape
from lockstep.sim.violation import Violation

GENESIS_TIME_MS: Final = 1_700_000_000_000
OWNERS: Final = 6
POLL_MS: Final = 100
SAMPLE_MS: Final = 997
COMMIT_TIMES: Final = 61
BOOT_MS: Final = 200
TXID_HEX: Final = 64
ALARMS_OF_A_LOST_DISK: Final = ("amnesia.found",)
ALARMS_ABOUT_LIARS: Final = ("consensus.equivocation",)
# A defect of the core may surface as any of these: a verdict with a seed, not a crash of ours.
_DEFECTS: Final = (
    LockstepError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)


class World:
    """One run of one seed; used once."""

    def __init__(self, seed: int, options: Options, *, sink: Sink | None = None) -> None:
        """Set the world up; `sink` gets a timeline for people."""
        self._seed = seed
        self._options = options
        self._dice = make_dice(seed, "world")
        self._clock = Clock()
        self._tape = Tape(sink)
        self._is_over = False
        voting = [self._make_signer() for _ in options.weights]
        owners = [self._make_signer() for _ in range(OWNERS)]
        self._verifier: Verifier = (
            SodiumVerifier() if options.real_signatures else KeyedHashVerifier()
        )
        genesis = self.genesis = self._make_genesis(voting, owners)
        for index, member in enumerate(genesis.members):
            keys = (member.node_key, make_member_id(member.voting_key))
            self._tape.names.update(dict.fromkeys(keys, f"node{index}"))
        links = self._links = Links(len(voting), options, make_dice(seed, "links"))
        network = Network(self._clock, links, make_dice(seed, "network"))
        self.chain = ChainChecker(genesis, self._verifier)
        self._clients = Clients(
            options, make_dice(seed, "clients"), self._clock, genesis, owners, self._resolved
        )
        self._cast = Cast(options, make_dice(seed, "masks"), self._clock)
        masked = self._masked = {
            make_member_id(voting[index].public_key): None for index in self._cast.masked
        }
        transactions = self._clients.transactions
        self._promises = PromiseChecker(
            transactions, self.chain.heights, options.closing_every, masked
        )
        self._lies = MaskedWords(masked, self._promises, genesis, self._verifier)
        self._evidence = EvidenceChecker(masked, options.closing_every, transactions)
        self._finality = FinalityChecker(
            genesis, self._verifier, transactions, self.chain, self._promises
        )
        surroundings = Surroundings(
            clock=self._clock,
            network=network,
            genesis=genesis,
            verifier=self._verifier,
            tape=self._tape,
            observer=self,
        )
        self.hosts = [self._make_host(i, surroundings, signer) for i, signer in enumerate(voting)]
        self._honest = [host for host in self.hosts if host.index not in self._cast.masked]
        network.attach(self.hosts)
        self._network = network
        self._faults = Faults(
            options,
            partial(make_dice, seed),
            self._clock,
            network,
            self.hosts,
            self._clients,
            masked=self._cast.masked,
            tape=self._tape,
        )
        self._progress = Progress(self._honest, self._clients.payments, self.chain)
        self._index_of = {key: index for index, key in enumerate(surroundings.peers)}
        self._counters = dict.fromkeys(
            ("synced_blocks", "final_notices", "restarts", "blamed", "alarms"), 0
        )

    @property
    def masked(self) -> list[int]:
        """Return the indices of the members that lie."""
        return list(self._cast.masked)

    def run(self) -> Outcome:
        """Let the world live to its verdict."""
        culprits: tuple[bytes, ...] = ()
        try:
            self._live()
            missing = self._missing()
            verdict, sentence = (Verdict.STUCK, missing) if missing else (Verdict.PASS, "")
            contradictions = [] if missing else self._progress.contradictions()
            if contradictions:
                verdict, sentence = Verdict.DIVERGED, contradictions[0]
        except _DEFECTS as fault:
            verdict, sentence = Verdict.DIVERGED, _describe_fault(fault)
            culprits = getattr(fault, "culprits", ())
        return Outcome(
            seed=self._seed,
            verdict=verdict,
            sentence=sentence,
            trace_hash=self._tape.digest,
            virtual_ms=self._clock.now_ms,
            options=self._options,
            counters=self._count(),
            culprits=tuple(member_id.hex() for member_id in culprits),
        )

    def on_effects(self, host: Host, effects: Sequence[Effect]) -> None:
        """Check what a step decided or called final, before any of it is done."""
        for effect in effects:
            if isinstance(effect, Persist):
                self._promises.on_signed(host.member_id, effect.record)
            match effect:
                case Persist(record=BlockDecided() as record):
                    self._on_decided(host, record)
                case Persist(record=EvidenceHeld() as held):
                    self._evidence.on_held(host.index, held)
                case Notify(notice=TransactionsFinal() as notice):
                    self._finality.on_final(host.index, notice)
                case Notify(notice=Alarm() as alarm):
                    self._on_alarm(host, alarm)
                case _:
                    pass

    def on_sent(self, host: Host, message: Message) -> None:
        """Check a message that leaves a node."""
        self._promises.on_sent(host.member_id, message)

    def on_notice(self, host: Host, notice: Notice) -> None:
        """Hear what a node tells its people."""
        if isinstance(notice, TransactionsFinal):
            self._finality.on_told(host.index, notice)
            self._counters["final_notices"] += len(notice.txids)
        elif isinstance(notice, BlockAdded):
            self._counters["synced_blocks"] += notice.by_sync
        self._clients.on_notice(host.index, notice)

    def on_blamed(self, host: Host, peer: bytes, code: str) -> None:
        """Refuse that one honest node is blamed by another."""
        if self._index_of[peer] not in self._cast.masked:
            raise Violation("false blame", f"node {host.index} blames {peer.hex()[:8]} for {code}")
        self._counters["blamed"] += 1

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """Remember what a batch id stands for."""
        self._promises.batches[batch_id] = txids

    def on_recovered(self, host: Host) -> None:
        """Check a node that was rebuilt from its disk."""
        replica = host.replica
        if replica is None:
            return
        if replica.view.state != host.disk.state:
            raise Violation("recovery", f"node {host.index} is not at its disk's state")
        self._counters["restarts"] += host.steps > 0
        self._promises.on_recovered(host.member_id)
        self._evidence.on_recovered(host)
        if host.is_disk_new:
            self._finality.on_disk_lost(host.index)
        self._finality.on_recovered(host.index, replica.view)

    def _on_alarm(self, host: Host, alarm: Alarm) -> None:
        """Refuse an alarm, unless it is about a member that lies, or a disk that was lost."""
        liars = [member_id.hex() for member_id in self._masked]
        is_true = alarm.code in ALARMS_ABOUT_LIARS and any(liar in alarm.sentence for liar in liars)
        if not is_true and not (alarm.code in ALARMS_OF_A_LOST_DISK and host.disks > 1):
            sentence = f"node {host.index} raised {alarm.code}: {alarm.sentence}"
            raise Violation("alarm", sentence, _double_voters(host, alarm))
        self._counters["alarms"] += 1

    def _on_decided(self, host: Host, record: BlockDecided) -> None:
        if host.replica is not None:
            check_bounds(host.index, host.replica)
        if not self.chain.on_decided(host.index, record):
            return
        header = record.block.header
        self._evidence.on_block(header.height, record.block.evidence)
        if not header.is_closing:
            self._finality.check_certified(header.epoch, record.delta.txids)
        self._finality.on_block(header.height, header.epoch, is_closing=header.is_closing)

    def _live(self) -> None:
        for host in self.hosts:
            self._clock.after(self._dice.randint(0, BOOT_MS), host.start)
        self._clock.after(BOOT_MS + 1, self._boot_network)
        self._clients.plan(self.hosts, self._cast.masked)
        self._cast.start()
        self._faults.plan()
        self._clock.at(self._options.safety_ms, self._evidence.on_whole)
        self._clock.after(SAMPLE_MS, self._sample)
        self._clock.at(self._options.seconds * 1_000, self._poll)
        limit_ms = max(self._options.seconds * 1_000, self._options.safety_ms + HEALING_LIMIT_MS)
        while not self._is_over and self._clock.now_ms <= limit_ms:
            if not self._clock.advance():
                break

    def _boot_network(self) -> None:
        self._network.heal(within_ms=BOOT_MS)

    def _sample(self) -> None:
        """Look into the nodes' memories now and then; most of it is dropped at decisions."""
        for host in self._honest:
            if host.replica is not None:
                check_bounds(host.index, host.replica)
        self._clock.after(SAMPLE_MS, self._sample)

    def _poll(self) -> None:
        if self._missing():
            self._clock.after(POLL_MS, self._poll)
        else:
            self._is_over = True

    def _missing(self) -> str:
        return self._progress.missing() or self._evidence.missing()

    def _on_arriving(self, host: Host, frames: Sequence[tuple[int, bytes]]) -> None:
        """Note which words of liars come to an honest node."""
        for _, data in frames:
            word = self._lies.words.get(data)
            if word is not None:
                self._evidence.on_heard(host, *word)

    def _resolved(self, txid: bytes) -> bool:
        return self._progress.is_resolved(txid)

    def _make_signer(self) -> Signer:
        seed = self._dice.randbytes(32)
        return SecretKey(seed) if self._options.real_signatures else KeyedHashSigner(seed)

    def _make_genesis(self, voting: Sequence[Signer], owners: Sequence[Signer]) -> Genesis:
        locks = [make_single_lock(owner.public_key) for owner in owners]
        return Genesis(
            version=1,
            network=DEVNET.network,
            time_ms=GENESIS_TIME_MS,
            closing_every=self._options.closing_every,
            block_interval_ms=DEVNET.block_interval_ms,
            idle_interval_ms=DEVNET.idle_interval_ms,
            members=tuple(
                GenesisMember(signer.public_key, self._dice.randbytes(32), weight, locks[0])
                for signer, weight in zip(voting, self._options.weights, strict=True)
            ),
            # A pair of rivals may take two coins more than one payment does.
            coins=tuple(
                TransactionOutput(COIN_AMOUNT, locks[index % OWNERS])
                for index in range(2 * self._options.payments + 2 * OWNERS)
            ),
        )

    def _make_host(self, index: int, surroundings: Surroundings, signer: Signer) -> Host:
        options, dice = self._options, self._dice
        longest_ms = options.slow_disk_ms if index == 0 else options.disk_ms
        member_id = make_member_id(signer.public_key)
        commit_times_ms = [dice.randint(1, longest_ms) for _ in range(COMMIT_TIMES)]
        skew_ms = dice.randint(-options.skew_ms, options.skew_ms)
        if index in self._cast.masked:
            return self._cast.add_host(
                index,
                surroundings,
                signer=signer,
                member_id=member_id,
                commit_times_ms=commit_times_ms,
                skew_ms=skew_ms,
                witness=self._lies,
            )
        host = ListeningHost(
            index,
            surroundings,
            signer=signer,
            member_id=member_id,
            commit_times_ms=commit_times_ms,
            skew_ms=skew_ms,
        )
        if self._masked:
            host.on_arriving = self._on_arriving
        return host

    def _count(self) -> dict[str, int]:
        return {
            **self._faults.counters,
            "rounds_above_zero": self.chain.rounds_above_zero,
            "conflicts": self._clients.conflicts,
            "lost_disks": sum(host.disks - 1 for host in self.hosts),
            "closings": self.chain.closings,
            "blocks": self.chain.height,
            "payments": len(self._clients.payments),
            "final": len(self._finality.final),
            "frames_lost": self._links.lost,
            "frames_repeated": self._links.repeated,
            "frames_stalled": self._links.stalled,
            "frames_overtaking": self._links.overtaking,
            "late_proposals": sum(host.late_proposals for host in self.hosts),
            "steps": sum(host.steps for host in self.hosts),
            "equivocations": self._lies.equivocations,
            "pairs_heard": self._evidence.pairs,
            "evidence": len(self._evidence.included),
            **self._cast.count(),
            **self._counters,
        }


def _describe_fault(fault: Exception) -> str:
    """Return what a defect was and where it surfaced."""
    if isinstance(fault, Violation):
        return str(fault)
    trace = fault.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(fault).__name__} at {place}: {fault}"


def _double_voters(host: Host, alarm: Alarm) -> tuple[bytes, ...]:
    """Return who voted in both certificates that an alarm of a host is about, if it is [R2]."""
    if alarm.code != "finality.two_certificates" or host.replica is None:
        return ()
    core = host.replica._core  # noqa: SLF001  # Who stands behind a certificate is in its tallies.
    first, second = (
        tally.members_at(VoteKind.VOTE, place, core.committee)
        for tally, place in (
            core.finality.place_of(bytes.fromhex(word))
            for word in alarm.sentence.split()
            if len(word) == TXID_HEX
        )
    )
    return tuple(member_id for member_id in first if member_id in second)
