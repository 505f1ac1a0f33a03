"""A masked member's computer: one core or two under its key, and the masks between it and others.

A core behind a mask is as real as an honest one; it may fall over what its own key said elsewhere,
which concerns nobody: it starts again after a while.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from lockstep.crypto.keys import Signer
from lockstep.errors import LockstepError
from lockstep.primitives.messages import Message, decode_message, encode_message
from lockstep.primitives.transaction import Transaction
from lockstep.replica.core import Core
from lockstep.replica.effects import Effect, Notice
from lockstep.replica.events import Event, Started
from lockstep.sim.host import Host
from lockstep.sim.masks.cabal import Cabal, Side
from lockstep.sim.masks.mask import Mask, Stage, is_word_of
from lockstep.sim.masks.shameless import make_shameless
from lockstep.sim.masks.voice import Voice
from lockstep.sim.surroundings import Surroundings

TWIN: Final = "twin"
TICK_MS: Final = 150
RESTART_MS: Final = 700
FALLS_MAX: Final = 5
DEFECTS: Final = (
    LockstepError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
)
REACHED: Final = ((Side.LEFT, Side.BOTH), (Side.RIGHT, Side.BOTH))


class Indifferent:
    """Looks at a masked core and asks nothing of it, but notes what its batches stand for."""

    def __init__(self, witness: "Witness") -> None:
        """Pass batches on."""
        self._witness = witness

    def on_effects(self, host: Host, effects: Sequence[Effect]) -> None:
        """Let everything pass."""

    def on_sent(self, host: Host, message: Message) -> None:
        """Let everything pass."""

    def on_notice(self, host: Host, notice: Notice) -> None:
        """Tell nobody."""

    def on_blamed(self, host: Host, peer: bytes, code: str) -> None:
        """Let liars blame whom they like."""

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """Note a batch made here."""
        self._witness.on_batch(batch_id, txids)

    def on_recovered(self, host: Host) -> None:
        """Let everything pass."""


class Gate:
    """Stands where the network of a core would be."""

    def __init__(self, leave: Callable[[int | None, bytes], None]) -> None:
        """Hand all frames to `leave`, with their receiver, None for all."""
        self._leave = leave

    def broadcast(self, sender: int, data: bytes) -> None:
        """Hand a frame for everybody on."""
        self._leave(None, data)

    def send(self, sender: int, receiver: int, data: bytes) -> None:
        """Hand a frame for one peer on."""
        self._leave(receiver, data)

    def forget(self, node: int) -> None:
        """Do nothing: the computer as a whole crashes, not one of its cores."""


class Witness(Protocol):
    """Who notes what masked members say."""

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """Note what a batch id stands for."""
        ...

    def on_said(self, data: bytes, message: Message) -> None:
        """Note a message that leaves for an honest peer."""
        ...

    def on_bytes(self, data: bytes) -> None:
        """Note any other frame that does."""
        ...


class Puppet(Host):
    """One core under a masked key; what falls starts again, until it has fallen too often.

    Attributes:
        falls: How often the core stopped at what it met.
        on_risen: Called when it runs again.
    """

    falls = 0
    on_risen: Callable[["Puppet"], None] | None = None

    def boot(self) -> None:
        """Start the core, if it can stand."""
        try:
            Host.start(self)
        except DEFECTS:
            self._fall()

    def _step(self, event: Event) -> None:
        if isinstance(event, Started) and self.replica is not None:
            make_shameless(self.replica._core)  # noqa: SLF001  # A liar changes its own core.
        try:
            super()._step(event)
        except DEFECTS:
            self._fall()

    def _fall(self) -> None:
        self.falls += 1
        Host.crash(self, is_flushed=False)
        if self.falls <= FALLS_MAX:
            self._around.clock.after(RESTART_MS, self._rise, self._life)

    def _rise(self, life: int) -> None:
        if life != self._life:
            return
        self.boot()
        if self.on_risen is not None and self.replica is not None:
            self.on_risen(self)


class MaskedHost(Puppet):
    """A member that lies: what the network and the clients see in its place.

    Attributes:
        masks: What bends its words, in order.
        stage: What the masks share.
        bodies: How many cores run under its key.
        falls_of_all: How often they stopped at what they met.
    """

    def __init__(
        self,
        index: int,
        surroundings: Surroundings,
        *,
        signer: Signer,
        member_id: bytes,
        commit_times_ms: Sequence[int],
        skew_ms: int,
        cabal: Cabal,
        witness: Witness,
    ) -> None:
        """Set the computer up, with one core and no masks yet."""
        self._wires = surroundings.network
        self._cabal = cabal
        self._witness = witness
        self._peers_up: dict[int, None] = {}
        self._is_on = self._is_ticking = False
        observer = Indifferent(witness)

        def around(body: int) -> Surroundings:
            return Surroundings(
                clock=surroundings.clock,
                network=Gate(lambda receiver, data: self._leave(body, receiver, data)),
                genesis=surroundings.genesis,
                verifier=surroundings.verifier,
                tape=surroundings.tape,
                observer=observer,
            )

        def make_twin() -> Puppet:
            return Puppet(
                index,
                around(1),
                signer=signer,
                member_id=member_id,
                commit_times_ms=commit_times_ms[::-1],
                skew_ms=-skew_ms,
            )

        super().__init__(
            index,
            around(0),
            signer=signer,
            member_id=member_id,
            commit_times_ms=commit_times_ms,
            skew_ms=skew_ms,
        )
        self.on_risen = self._reconnect
        self._make_twin = make_twin
        self._twin: Puppet | None = None
        self.masks: list[Mask] = []
        self.stage = Stage(
            index,
            voice=Voice(signer, member_id, surroundings.genesis.chain_id),
            genesis=surroundings.genesis,
            clock=surroundings.clock,
            cabal=cabal,
            find_core=self._find_core,
            transmit=self._put,
        )
        cabal.join(index, self)

    @property
    def bodies(self) -> int:
        """Return how many cores run under its key."""
        return 1 if self._twin is None else 2

    @property
    def is_up(self) -> bool:
        """Tell whether the computer runs, whatever became of its cores."""
        return self._is_on

    @property
    def falls_of_all(self) -> int:
        """Return how often its cores stopped at what they met."""
        return sum(body.falls for body in self._bodies())

    def pause(self) -> int:
        """Do not stand still: a liar that is silent wears the mask for it."""
        return self._life

    def add_twin(self) -> None:
        """Run a second core under the same key, for the other half of the peers."""
        self._twin = self._make_twin()
        self._twin.on_risen = self._reconnect

    # What the world does to it.

    def start(self) -> None:
        """Switch the computer on."""
        self._is_on = True
        for body in self._bodies():
            body.boot()
        if not self._is_ticking:
            self._is_ticking = True
            self._around.clock.after(TICK_MS, self._tick)

    def crash(self, *, is_flushed: bool) -> None:
        """Stop all cores at once."""
        self._is_on = False
        self._peers_up = {}
        for body in self._bodies():
            Host.crash(body, is_flushed=is_flushed)
        self._wires.forget(self.index)

    def submit(self, transactions: Sequence[tuple[Transaction, bytes, int]]) -> None:
        """Take payments of a client; twins are told different ones."""
        bodies = self._bodies()
        for number, body in enumerate(bodies):
            if body.replica is not None:
                Host.submit(body, transactions[number :: len(bodies)])

    def on_connected(self, peer: int) -> None:
        """Learn that a peer can be reached."""
        self._peers_up[peer] = None
        for number, body in enumerate(self._bodies()):
            if self._reaches(number, peer):
                Host.on_connected(body, peer)

    def on_disconnected(self, peer: int) -> None:
        """Learn that a peer is gone."""
        self._peers_up.pop(peer, None)
        for number, body in enumerate(self._bodies()):
            if self._reaches(number, peer):
                Host.on_disconnected(body, peer)

    def on_frames(self, frames: Sequence[tuple[int, bytes]]) -> None:
        """Let the cores hear what the masks let pass."""
        passed = [(sender, data) for sender, data in frames if self._lets_in(sender, data)]
        for number, body in enumerate(self._bodies()):
            heard = [frame for frame in passed if self._reaches(number, frame[0])]
            if heard:
                Host.on_frames(body, heard)

    # What the cabal does to it.

    def hear_secret(self, body: int, sender: int, data: bytes) -> None:
        """Take a frame of another masked member for one of its cores."""
        bodies = self._bodies()
        if body < len(bodies) and sender in self._peers_up:
            Host.on_frames(bodies[body], [(sender, data)])

    def split_changed(self) -> None:
        """Let twins lose and find the peers that changed sides."""
        for body in self._bodies() if self._twin is not None else ():
            self._reconnect(body)

    # Between the cores and the wire.

    def _bodies(self) -> list[Puppet]:
        return [self] if self._twin is None else [self, self._twin]

    def _reconnect(self, body: Puppet) -> None:
        number = self._bodies().index(body)
        for peer in list(self._peers_up):
            Host.on_disconnected(body, peer)
            if self._reaches(number, peer):
                Host.on_connected(body, peer)

    def _reaches(self, body: int, peer: int) -> bool:
        if self._twin is None or peer in self._cabal.masked:
            return True
        return self._cabal.side_of(peer) in REACHED[body]

    def _find_core(self) -> Core | None:
        for body in self._bodies():
            if body.replica is not None:
                return body.replica._core  # noqa: SLF001  # A liar looks into its own core.
        return None

    def _lets_in(self, sender: int, data: bytes) -> bool:
        try:
            message = decode_message(data)
        except LockstepError:
            return False
        if self._twin is not None and is_word_of(self.member_id, message):
            # A twin must not learn what the other one said.
            return False
        # Every mask is to hear it, whatever another one said.
        verdicts = [mask.on_arriving(sender, message) for mask in self.masks]
        return all(verdicts)

    def _leave(self, body: int, receiver: int | None, data: bytes) -> None:
        message = decode_message(data)
        for peer in list(self._peers_up) if receiver is None else [receiver]:
            if peer in self._cabal.masked:
                self._cabal.tell(self.index, body, peer, data)
            elif self._reaches(body, peer):
                if body:
                    self.stage.note_work(TWIN)
                words: list[Message] = [message]
                for mask in self.masks:
                    words = [word for held in words for word in mask.on_leaving(peer, held)]
                for word in words:
                    frame = data if word is message else encode_message(word)
                    self._put(peer, frame, word)

    def _put(self, peer: int, data: bytes, message: Message | None) -> None:
        around = self._around
        if not self._is_on or peer in self._cabal.masked:
            return
        around.tape.note(around.clock.now_ms, self.index, "mask", data)
        if message is None:
            self._witness.on_bytes(data)
        else:
            self._witness.on_said(data, message)
        self._wires.send(self.index, peer, data)

    def _tick(self) -> None:
        if self._is_on:
            for mask in self.masks:
                mask.on_tick()
        self._around.clock.after(TICK_MS, self._tick)
