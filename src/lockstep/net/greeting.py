"""The session's own messages, the facts a node tells of itself, and the reasons to refuse it.

Session messages have tags from 32 up, the replica's are below, so one byte of a frame tells them
apart and a frame for the replica is handed on undecoded. A change of shape is a new tag, or, for
the facts inside a greeting, a new protocol version.
"""

from functools import cache
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from lockstep import __version__
from lockstep.crypto.hashing import tagged_hash
from lockstep.errors import Rejected
from lockstep.net.wire import encode_frame
from lockstep.primitives import codec, params
from lockstep.primitives.ids import Counter, Hash, Small
from lockstep.primitives.params import HELLO_FRAME_BYTES_MAX

PROTOCOL_VERSION: Final = 1
SESSION_TAG_MIN: Final = 32
INSTANCE_BYTES: Final = 16
FACTS_BYTES_MAX: Final = 4096
"""What a node may tell of itself in a greeting."""
SENTENCE_MAX: Final = 400
"""Characters of the sentence in a refusal or a farewell."""


class SessionRefused(Rejected):
    """The two nodes cannot talk: the root of every reason a session is refused for."""

    code = "session.refused"


class WrongVersion(SessionRefused):
    """The two nodes speak different versions of the peer protocol."""

    code = "session.wrong_version"


class WrongNetwork(SessionRefused):
    """The two nodes belong to different networks."""

    code = "session.wrong_network"


class WrongChain(SessionRefused):
    """The two nodes started from different genesis files."""

    code = "session.wrong_chain"


class WrongRules(SessionRefused):
    """The two nodes would judge blocks by different rules."""

    code = "session.wrong_rules"


class UnknownKey(SessionRefused):
    """The node key belongs to nobody this node may talk to."""

    code = "session.unknown_key"


class OwnKey(SessionRefused):
    """The node at the other end has this node's own key."""

    code = "session.self"


class DuplicateSession(SessionRefused):
    """There is a better connection between the two nodes already."""

    code = "session.duplicate"


class NoSlot(SessionRefused):
    """This node has as many peers as it takes."""

    code = "session.full"


class Cooling(SessionRefused):
    """The peer broke the protocol a moment ago and has to wait."""

    code = "session.cooling"


REFUSALS: Final[dict[str, type[SessionRefused]]] = {
    refusal.code: refusal
    for refusal in (
        WrongVersion,
        WrongNetwork,
        WrongChain,
        WrongRules,
        UnknownKey,
        OwnKey,
        DuplicateSession,
        NoSlot,
        Cooling,
    )
}

Code = Annotated[str, Meta(max_length=64)]
Sentence = Annotated[str, Meta(max_length=SENTENCE_MAX)]


class NodeFacts(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a node tells of itself when it connects.

    Attributes:
        network: Name of the network.
        chain_id: Hash of its genesis [M2].
        rules: Hash of the consensus constants it runs with.
        software: Its version, for people.
        port: Where it listens, 0 if it does not.
        height: Its last decided height.
        instance: Drawn when its process started; tells a restarted node from a second connection.
    """

    network: Annotated[str, Meta(max_length=16)]
    chain_id: Hash
    rules: Hash
    software: Annotated[str, Meta(max_length=64)]
    port: Small
    height: Counter
    instance: Annotated[bytes, Meta(min_length=INSTANCE_BYTES, max_length=INSTANCE_BYTES)]


class Hello(Struct, frozen=True, array_like=True, tag=32, forbid_unknown_fields=True):
    """The dialling side's first frame; `facts` are encoded: another version stays legible."""

    version: Small
    facts: Annotated[bytes, Meta(max_length=FACTS_BYTES_MAX)]


class Ack(Struct, frozen=True, array_like=True, tag=33, forbid_unknown_fields=True):
    """The answer to a HELLO that opens the session."""

    version: Small
    facts: Annotated[bytes, Meta(max_length=FACTS_BYTES_MAX)]


class Refused(Struct, frozen=True, array_like=True, tag=34, forbid_unknown_fields=True):
    """The answer to a HELLO that ends the session."""

    code: Code
    sentence: Sentence


class Ping(Struct, frozen=True, array_like=True, tag=35, forbid_unknown_fields=True):
    """A sign of life with the sender's height; to be answered with the same nonce."""

    nonce: Counter
    height: Counter


class Pong(Struct, frozen=True, array_like=True, tag=36, forbid_unknown_fields=True):
    """The answer to a PING."""

    nonce: Counter


class Goodbye(Struct, frozen=True, array_like=True, tag=37, forbid_unknown_fields=True):
    """The sender closes, for this reason."""

    code: Code
    sentence: Sentence


SessionMessage = Hello | Ack | Refused | Ping | Pong | Goodbye


@cache
def rules_hash() -> bytes:
    """Hash the constants that two nodes must share to judge the same blocks alike."""
    constants = (
        params.RULE_SET,
        params.COIN,
        params.SUPPLY_MAX,
        params.DUST,
        params.FEE_MIN,
        params.FEE_PER_BYTE,
        params.MEMBERS_MIN,
        params.ISSUANCE_PER_INTERVAL,
        params.ISSUANCE_INTERVAL_MS,
        params.ORDINARY_BLOCK_BYTES_MAX,
        params.CLOSING_BLOCK_BYTES_MAX,
        params.VOTED_BYTES_MAX,
        params.PAGE_BYTES_MAX,
        params.FRAME_BYTES_MAX,
    )
    return tagged_hash("rules", codec.encode(constants))


def make_facts(
    *, network: str, chain_id: bytes, port: int, height: int, instance: bytes
) -> NodeFacts:
    """Describe this node with its rules and its version."""
    return NodeFacts(network, chain_id, rules_hash(), __version__, port, height, instance)


def check_facts(own: NodeFacts, peer: NodeFacts) -> None:
    """Refuse a peer of another network, chain or rule set.

    Raises:
        WrongNetwork: If the networks differ.
        WrongChain: If the genesis files differ.
        WrongRules: If the consensus constants differ.
    """
    if peer.network != own.network:
        raise WrongNetwork(
            f"this node belongs to the network {own.network}, not to {printable(peer.network)}"
        )
    if peer.chain_id != own.chain_id:
        raise WrongChain(
            f"this node follows the chain {own.chain_id.hex()[:16]} of {own.network}, "
            f"not {peer.chain_id.hex()[:16]}: the genesis files differ"
        )
    if peer.rules != own.rules:
        raise WrongRules(
            f"this node (version {own.software}) runs the rules {own.rules.hex()[:16]}, "
            f"not {peer.rules.hex()[:16]}: one of the two needs an upgrade"
        )


def is_session_frame(frame: bytes) -> bool:
    """Tell by its first two bytes whether a frame belongs to the session or to the replica.

    A session message is a short array whose first element is its tag, one byte from 32 to 127.
    """
    return len(frame) > 1 and frame[0] >> 4 == 0x9 and SESSION_TAG_MIN <= frame[1] < 0x80


def encode_session(message: SessionMessage) -> bytes:
    """Encode a session message as a frame, within the small cap of a first frame."""
    return encode_frame(codec.encode(message), bytes_max=HELLO_FRAME_BYTES_MAX)


def decode_session(frame: bytes) -> SessionMessage:
    """Decode the content of a session frame.

    Raises:
        Oversize: If it exceeds the small cap of a first frame.
        Malformed: If it is no session message in canonical form.
    """
    shape: Any = SessionMessage
    message: SessionMessage = codec.decode(shape, frame, size_max=HELLO_FRAME_BYTES_MAX)
    return message


def printable(text: str) -> str:
    """Make a stranger's text safe to print."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
