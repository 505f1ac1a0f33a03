"""How a session between two nodes goes, sans-IO: greeting, signs of life, farewell.

The dialling side says HELLO; the other answers ACK, or REFUSED with a code and a sentence of its
own for each reason. After that either side may send the replica's messages, PING, PONG and GOODBYE.

TLS has proved the node key before; nothing here repeats it. No sockets, no clock.
"""

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from lockstep.errors import LockstepError, Rejected, Unavailable
from lockstep.net.greeting import (
    FACTS_BYTES_MAX,
    PROTOCOL_VERSION,
    REFUSALS,
    SENTENCE_MAX,
    Ack,
    Goodbye,
    Hello,
    NodeFacts,
    Ping,
    Pong,
    Refused,
    SessionRefused,
    WrongVersion,
    check_facts,
    decode_session,
    encode_session,
    printable,
)
from lockstep.primitives import codec


class UnexpectedMessage(Rejected):
    """A message that has no place at this point of the session."""

    code = "session.unexpected"


class PeerLeft(Unavailable):
    """The peer said GOODBYE."""

    code = "session.left"


class Say(Struct, frozen=True):
    """Send this frame."""

    frame: bytes


class Opened(Struct, frozen=True):
    """The session is open: the replica's messages may flow."""

    facts: NodeFacts


class PeerHeight(Struct, frozen=True):
    """The peer told its height."""

    height: int


class Ponged(Struct, frozen=True):
    """The peer answered the PING with this nonce."""

    nonce: int


class Over(Struct, frozen=True):
    """Nothing more is to be said or heard; close after what was said has left."""

    reason: LockstepError


Outcome = Say | Opened | PeerHeight | Ponged | Over


class Stage(Enum):
    """How far a session has come."""

    AWAIT_HELLO = 1
    AWAIT_ACK = 2
    OPEN = 3
    OVER = 4


class Session:
    """One conversation with a peer; owned by its connection.

    Args:
        own: What this node tells of itself.
        dialled: Whether this node dialled; the dialling side says HELLO.
        judge: Asked when the peer's facts agree with ours: a reason to refuse it, or None.
    """

    __slots__ = ("_judge", "_own", "stage")

    def __init__(
        self,
        own: NodeFacts,
        *,
        dialled: bool,
        judge: Callable[[NodeFacts], SessionRefused | None],
    ) -> None:
        self._own = own
        self._judge = judge
        self.stage = Stage.AWAIT_ACK if dialled else Stage.AWAIT_HELLO

    def start(self) -> list[Outcome]:
        """Return what is to be said first: HELLO on the dialling side, nothing on the other."""
        if self.stage is Stage.AWAIT_ACK:
            hello = Hello(PROTOCOL_VERSION, codec.encode(self._own))
            return [Say(encode_session(hello))]
        return []

    def receive(self, frame: bytes) -> list[Outcome]:
        """Handle one session frame; after `Over` nothing is heard any more.

        Raises:
            UnexpectedMessage: If the message has no place at this stage.
            Malformed: If it is no canonical session message.
            Oversize: If it is larger than any.
        """
        message = decode_session(frame)
        match self.stage, message:
            case Stage.OVER, _:
                return []
            case Stage.AWAIT_HELLO, Hello():
                return self._on_hello(message)
            case Stage.AWAIT_ACK, Ack():
                return self._on_ack(message)
            case Stage.AWAIT_ACK, Refused(code, sentence):
                self.stage = Stage.OVER
                return [Over(REFUSALS.get(code, SessionRefused)(printable(sentence)))]
            case Stage.AWAIT_ACK | Stage.OPEN, Goodbye(code, sentence):
                self.stage = Stage.OVER
                return [Over(PeerLeft(f"{printable(sentence)} ({printable(code)})"))]
            case Stage.OPEN, Ping(nonce, height):
                return [Say(encode_session(Pong(nonce))), PeerHeight(height)]
            case Stage.OPEN, Pong(nonce):
                return [Ponged(nonce)]
        raise UnexpectedMessage(
            f"{type(message).__name__.upper()} has no place while the session is "
            f"{self.stage.name.lower()}"
        )

    def end(self, reason: LockstepError) -> list[Outcome]:
        """Close from this side: return the farewell that fits the stage, if one does."""
        code, sentence = reason.code, str(reason)[:SENTENCE_MAX]
        stage, self.stage = self.stage, Stage.OVER
        match stage:
            case Stage.OVER:
                return []
            case Stage.AWAIT_HELLO:
                return [Say(encode_session(Refused(code, sentence)))]
            case Stage.AWAIT_ACK | Stage.OPEN:
                return [Say(encode_session(Goodbye(code, sentence)))]

    def _on_hello(self, hello: Hello) -> list[Outcome]:
        try:
            facts = self._check(hello)
        except SessionRefused as refusal:
            return [*self.end(refusal), Over(refusal)]
        self.stage = Stage.OPEN
        ack = Ack(PROTOCOL_VERSION, codec.encode(self._own))
        return [Say(encode_session(ack)), Opened(facts)]

    def _on_ack(self, ack: Ack) -> list[Outcome]:
        try:
            facts = self._check(ack)
        except SessionRefused as refusal:
            return [*self.end(refusal), Over(refusal)]
        self.stage = Stage.OPEN
        return [Opened(facts)]

    def _check(self, greeting: Hello | Ack) -> NodeFacts:
        if greeting.version != PROTOCOL_VERSION:
            raise WrongVersion(
                f"this node (version {self._own.software}) speaks version {PROTOCOL_VERSION} of "
                f"the peer protocol, not {greeting.version}"
            )
        facts = codec.decode(NodeFacts, greeting.facts, size_max=FACTS_BYTES_MAX)
        check_facts(self._own, facts)
        if refusal := self._judge(facts):
            raise refusal
        return facts
