"""The replica's only door: one event in, effects out, sorted by stage.

It dispatches and sorts; what happens is in the path modules. After each event it settles quorums
that were reached, looks again at what waited, and takes up messages kept for a height just begun.
"""

from collections.abc import Iterable
from typing import assert_never

from lockstep.crypto.keys import Signer, Verifier
from lockstep.errors import Misuse, Rejected
from lockstep.ledger.coins import CoinDelta, CoinView
from lockstep.ledger.state import ChainState
from lockstep.primitives.block import Ballot, CommitCertificate
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock
from lockstep.replica import (
    agreement,
    amnesia,
    candidates,
    evidence,
    exchange,
    freezing,
    summing,
    syncing,
    tx_path,
    voting,
)
from lockstep.replica.core import Core
from lockstep.replica.effects import Effect, Record
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    BlockFetched,
    BlockFetchFailed,
    Event,
    EvidenceReceived,
    FreezeReceived,
    OwnWordsReceived,
    PeerConnected,
    PeerDisconnected,
    Persisted,
    ProposalReceived,
    RequestReceived,
    Started,
    StatusReceived,
    Timer,
    TimerFired,
    TimerKind,
    VotesReceived,
)
from lockstep.replica.recovery import begin_voting, recover, resume
from lockstep.replica.saying import is_unsaid, say_promises
from lockstep.replica.view import ReplicaView


class Replica:
    """A deterministic masternode: `step` is its only way in, effects its only way out.

    Owned by one caller; never shared between threads.
    """

    def __init__(
        self,
        *,
        genesis: Genesis,
        state: ChainState,
        view: CoinView,
        signer: Signer | None,
        verifier: Verifier,
        tip_certificate: CommitCertificate | None,
        has_amnesia: bool,
    ) -> None:
        """Build the replica over a chain's state; `signer` is None for a node that only follows.

        `has_amnesia` says that the key may have signed what the journal below does not hold [D3].
        """
        self._core = Core(
            genesis=genesis,
            state=state,
            view=view,
            signer=signer,
            verifier=verifier,
            tip_certificate=tip_certificate,
            has_amnesia=has_amnesia,
        )
        self.view = ReplicaView(self._core)

    def recover(
        self, records: Iterable[Record], tip: DecidedBlock | None, deltas: Iterable[CoinDelta]
    ) -> None:
        """Replay the journal into the same paths, before `Started` [D2].

        `deltas` are what the blocks changed above the height whose sum of coins the state has [S1].

        Raises:
            Misuse: If the replica has already started.
            Fatal: If the journal contradicts itself or the chain.
        """
        if self._core.started:
            raise Misuse("a replica recovers before it starts")
        recover(self._core, records, tip, deltas)

    def step(self, event: Event, *, time_ms: int, is_gathering: bool = False) -> list[Effect]:
        """Take one event and return what must now be done, in stage order.

        `time_ms` is the wall clock; nothing's validity depends on it. With `is_gathering` Votes and
        Confirms are promised and not yet made into messages: the caller says that a commit is in
        flight, which they could not pass, and calls `speak` when it has ended [D1].

        Raises:
            Fatal: If an invariant is gone; the caller must stop the node.
        """
        core = self._core
        core.time_ms = time_ms
        core.effects = []
        try:
            self._on(event)
        except Rejected as fault:
            self._blame(getattr(event, "peer", None), fault)
        return self._end_step(is_gathering=is_gathering)

    def speak(self, *, time_ms: int) -> list[Effect]:
        """Make messages of what was promised while gathering; return what must be done, in order.

        Raises:
            Fatal: If an invariant is gone; the caller must stop the node.
        """
        core = self._core
        if not is_unsaid(core):
            return []
        core.time_ms = time_ms
        core.effects = []
        return self._end_step(is_gathering=False)

    def _end_step(self, *, is_gathering: bool) -> list[Effect]:
        core = self._core
        self._settle(is_gathering=is_gathering)
        effects, core.effects = core.effects, []
        return sorted(effects, key=lambda effect: effect.stage)

    def _on(self, event: Event) -> None:
        core = self._core
        amnesia.hear(core, event)
        evidence.watch(core, event)
        match event:
            case Started():
                core.started = True
                resume(core)
                exchange.announce(core)
                amnesia.begin(core)
                summing.fold_later(core)
            case BatchReceived():
                tx_path.on_batch(core, event)
            case VotesReceived(peer=peer, votes=votes):
                for vote in votes:
                    try:
                        tx_path.on_vote(core, peer, vote)
                    except Rejected as fault:
                        self._blame(peer, fault)
            case FreezeReceived():
                self._on_freeze(event)
            case ProposalReceived():
                self._on_proposal(event)
            case BallotsReceived():
                self._on_ballots(event)
            case RequestReceived():
                exchange.on_request(core, event)
            case OwnWordsReceived():
                amnesia.on_words(core, event)
            case StatusReceived():
                syncing.on_status(core, event)
            case EvidenceReceived():
                evidence.on_evidence(core, event)
            case BlockFetched():
                syncing.on_block_fetched(core, event)
            case BlockFetchFailed(peer=peer, height=height):
                core.catchup.on_failed(peer, height)
            case PeerConnected(peer=peer):
                exchange.on_connect(core, peer)
            case PeerDisconnected(peer=peer):
                exchange.on_disconnect(core, peer)
            case TimerFired(timer=timer):
                self._on_timer(timer)
            case Persisted(height=height):
                core.overlay.forget(height)
            case _:
                assert_never(event)

    def _on_timer(self, timer: Timer) -> None:
        core = self._core
        match timer.kind:
            case TimerKind.RESEND:
                exchange.on_resend_timer(core, timer)
            case TimerKind.FETCH:
                self._look_again()
                exchange.on_fetch_timer(core)
            case TimerKind.QUESTION:
                amnesia.repeat_question(core)
            case TimerKind.FOLD:
                summing.on_fold_timer(core)
            case TimerKind.CATCHUP:
                syncing.on_catchup_timer(core)
            case (
                TimerKind.PROPOSE | TimerKind.PREVOTE | TimerKind.PRECOMMIT | TimerKind.NEXT_HEIGHT
            ):
                agreement.on_round_timer(core, timer)
            case _:
                assert_never(timer.kind)

    def _on_freeze(self, event: FreezeReceived) -> None:
        """Hold a FREEZE of this epoch; one that comes before its height waits [T5]."""
        core = self._core
        if event.freeze.epoch != core.state.epoch:
            return
        if agreement.is_closing(core):
            freezing.hold_freeze(core, event.freeze, event.peer)
        elif core.height.height + 1 == core.closing_height:
            core.early.keep_event(event, core.closing_height)

    def _on_proposal(self, event: ProposalReceived) -> None:
        core = self._core
        height = event.message.proposal.height
        if height == core.height.height:
            candidates.on_proposal(core, event)
        elif height == core.height.height + 1:
            core.early.keep_event(event, height)

    def _on_ballots(self, event: BallotsReceived) -> None:
        core = self._core
        later: list[Ballot] = []
        for ballot in event.ballots:
            if ballot.height == core.height.height:
                try:
                    agreement.take_ballot(core, ballot)
                except Rejected as fault:
                    self._blame(event.peer, fault)
            elif ballot.height == core.height.height + 1:
                later.append(ballot)
        if later:
            height = later[0].height
            core.early.keep_event(BallotsReceived(event.peer, tuple(later)), height)

    def _settle(self, *, is_gathering: bool) -> None:
        """Do what this event made possible, until nothing more is."""
        core = self._core
        while True:
            if amnesia.settle(core):
                begin_voting(core)
            voting.settle(core)
            if not is_gathering and is_unsaid(core):
                say_promises(core)
                continue
            evidence.settle(core)
            if core.height.recheck:
                self._look_again()
            elif core.catchup.holds(core.height.height):
                syncing.apply_held(core)
            elif core.early.is_due(core.height.height, core.finality.epoch):
                self._take_early()
            else:
                break
        agreement.quicken(core)
        exchange.schedule_fetches(core)

    def _look_again(self) -> None:
        """Let open candidates and FREEZEs see what has come; they say what they still lack."""
        core = self._core
        core.height.recheck = False
        freezing.recheck_freezes(core)
        agreement.start_if_frozen(core)
        candidates.examine_open(core)

    def _take_early(self) -> None:
        """Take up the messages that were kept for the height or epoch that has begun."""
        core = self._core
        events = core.early.take_events(core.height.height)
        votes = core.early.take_votes(core.finality.epoch)
        for peer, vote in votes:
            self._on(VotesReceived(peer, (vote,)))
        for event in events:
            try:
                self._on(event)
            except Rejected as fault:
                self._blame(event.peer, fault)

    def _blame(self, peer: bytes | None, fault: Rejected) -> None:
        """Report a message that is refused and go on; whoever refuses has changed nothing yet."""
        self._core.penalise(peer, fault.code)
