"""The session: every cell of its table, each refusal with its own sentence, garbage harmless."""

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import Rejected
from lockstep.net.greeting import (
    PROTOCOL_VERSION,
    REFUSALS,
    Ack,
    Cooling,
    DuplicateSession,
    Goodbye,
    Hello,
    NodeFacts,
    NoSlot,
    OwnKey,
    Ping,
    Pong,
    Refused,
    SessionMessage,
    SessionRefused,
    UnknownKey,
    decode_session,
    is_session_frame,
    make_facts,
)
from lockstep.net.session import (
    Opened,
    Outcome,
    Over,
    PeerHeight,
    Ponged,
    Say,
    Session,
    Stage,
    UnexpectedMessage,
)
from lockstep.net.wire import HEADER_BYTES
from lockstep.primitives import codec
from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import GetBlock, Message, Status

FACTS = make_facts(network="devnet", chain_id=b"c" * 32, port=24200, height=7, instance=b"i" * 16)
ENCODED = codec.encode(FACTS)
WORDS: list[SessionMessage] = [
    Hello(PROTOCOL_VERSION, ENCODED),
    Ack(PROTOCOL_VERSION, ENCODED),
    Refused("session.full", "no room"),
    Ping(3, 9),
    Pong(3),
    Goodbye("session.node_stops", "the node is stopping"),
]


def make_session(
    stage: Stage,
    *,
    facts: NodeFacts = FACTS,
    verdict: SessionRefused | None = None,
) -> Session:
    session = Session(facts, dialled=stage is Stage.AWAIT_ACK, judge=lambda _: verdict)
    session.stage = stage
    return session


def said(outcome: Outcome) -> SessionMessage:
    assert isinstance(outcome, Say)
    return decode_session(outcome.frame[HEADER_BYTES:])


EXPECTED = {
    (Stage.AWAIT_HELLO, Hello): ([Say, Opened], Stage.OPEN),
    (Stage.AWAIT_ACK, Ack): ([Opened], Stage.OPEN),
    (Stage.AWAIT_ACK, Refused): ([Over], Stage.OVER),
    (Stage.AWAIT_ACK, Goodbye): ([Over], Stage.OVER),
    (Stage.OPEN, Ping): ([Say, PeerHeight], Stage.OPEN),
    (Stage.OPEN, Pong): ([Ponged], Stage.OPEN),
    (Stage.OPEN, Goodbye): ([Over], Stage.OVER),
}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
@pytest.mark.parametrize("stage", Stage)
def test_every_cell_of_the_table(stage: Stage, word: SessionMessage) -> None:
    session = make_session(stage)
    if stage is Stage.OVER:
        assert session.receive(codec.encode(word)) == []
    elif cell := EXPECTED.get((stage, type(word))):
        outcomes = session.receive(codec.encode(word))
        assert ([type(outcome) for outcome in outcomes], session.stage) == cell
    else:
        with pytest.raises(UnexpectedMessage):
            session.receive(codec.encode(word))
        assert session.stage is stage


def greet(own: NodeFacts, peer: NodeFacts, verdict: SessionRefused | None = None) -> Rejected:
    """Let a session of `peer` dial one of `own`; return what the dialling side ends with."""
    listener = make_session(Stage.AWAIT_HELLO, facts=own, verdict=verdict)
    dialler = make_session(Stage.AWAIT_ACK, facts=peer)
    hello = said(dialler.start()[0])
    answer, over = listener.receive(codec.encode(hello))
    (end,) = dialler.receive(codec.encode(said(answer)))
    assert isinstance(over, Over)
    assert isinstance(end, Over)
    assert isinstance(end.reason, Rejected)
    assert (type(end.reason), str(end.reason)) == (type(over.reason), str(over.reason))
    return end.reason


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        ({"network": "testnet"}, "session.wrong_network", "network devnet, not to testnet"),
        ({"chain_id": b"d" * 32}, "session.wrong_chain", "the genesis files differ"),
        ({"rules": b"r" * 32}, "session.wrong_rules", "needs an upgrade"),
    ],
)
def test_other_facts_are_refused_each_with_its_sentence(
    change: dict[str, str | bytes], code: str, part: str
) -> None:
    reason = greet(FACTS, msgspec.structs.replace(FACTS, **change))
    assert reason.code == code
    assert part in str(reason)


@pytest.mark.parametrize("kind", [UnknownKey, OwnKey, DuplicateSession, NoSlot, Cooling])
def test_a_verdict_reaches_the_dialling_side(kind: type[SessionRefused]) -> None:
    reason = greet(FACTS, FACTS, kind("because of this"))
    assert (type(reason), str(reason)) == (kind, "because of this")


def test_the_network_is_judged_before_the_key() -> None:
    """A stranger of another network is told so, and not that its key is unknown."""
    other = msgspec.structs.replace(FACTS, network="testnet")
    assert greet(FACTS, other, UnknownKey("who?")).code == "session.wrong_network"


def test_another_version_is_told_even_if_its_facts_have_another_shape() -> None:
    session = make_session(Stage.AWAIT_HELLO)
    hello = Hello(PROTOCOL_VERSION + 1, codec.encode(["what", "comes", "later"]))
    answer, _ = session.receive(codec.encode(hello))
    refused = said(answer)
    assert isinstance(refused, Refused)
    assert refused.code == "session.wrong_version"


def test_every_refusal_has_its_own_code() -> None:
    assert len(REFUSALS) == 9
    assert all(code == kind.code != SessionRefused.code for code, kind in REFUSALS.items())


def test_a_dialler_leaves_a_listener_of_another_chain() -> None:
    session = make_session(Stage.AWAIT_ACK)
    other = codec.encode(msgspec.structs.replace(FACTS, chain_id=b"d" * 32))
    farewell, over = session.receive(codec.encode(Ack(PROTOCOL_VERSION, other)))
    assert isinstance(said(farewell), Goodbye)
    assert isinstance(over, Over)
    assert over.reason.code == "session.wrong_chain"


def test_a_refusals_text_is_made_safe_to_print() -> None:
    session = make_session(Stage.AWAIT_ACK)
    (over,) = session.receive(codec.encode(Refused("what.ever", "a\x1b[31mb\nc")))
    assert isinstance(over, Over)
    assert str(over.reason) == "a?[31mb?c"
    assert over.reason.code == "session.refused"


@pytest.mark.parametrize(
    ("stage", "kind"),
    [(Stage.AWAIT_HELLO, Refused), (Stage.AWAIT_ACK, Goodbye), (Stage.OPEN, Goodbye)],
)
def test_a_farewell_fits_the_stage_and_is_said_once(
    stage: Stage, kind: type[SessionMessage]
) -> None:
    session = make_session(stage)
    (farewell,) = session.end(NoSlot("x" * 1000))
    assert isinstance(said(farewell), kind)
    assert session.end(NoSlot("again")) == []


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_session_frames_are_told_by_their_tag(word: SessionMessage) -> None:
    assert is_session_frame(codec.encode(word))


@pytest.mark.parametrize(
    "message", [Status(1, b"h" * 32, 0), GetBlock(1, 0)], ids=lambda m: type(m).__name__
)
def test_messages_for_the_replica_are_not_session_frames(message: Message) -> None:
    assert not is_session_frame(codec.encode(message))


def test_no_tag_is_used_by_both_unions() -> None:
    def tags(union: object) -> set[int]:
        return {kind.__struct_config__.tag for kind in getattr(union, "__args__")}  # noqa: B009 # A union.

    assert min(tags(SessionMessage)) == 32
    assert max(tags(Message)) < 32
    assert Ballot.__struct_config__.tag in tags(Message)


MUTATIONS: list[Callable[[bytes], bytes]] = [
    lambda frame: frame + b"\x00",
    lambda frame: frame[:-1],
    lambda frame: b"\xdc\x00" + bytes([frame[0] & 0x0F]) + frame[1:],
]


@pytest.mark.parametrize("mutate", MUTATIONS)
@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_only_canonical_bytes_are_taken(
    word: SessionMessage, mutate: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(Rejected):
        make_session(Stage.OPEN).receive(mutate(codec.encode(word)))


@given(
    stage=st.sampled_from(Stage),
    word=st.sampled_from(WORDS),
    junk=st.binary(max_size=200),
    place=st.integers(min_value=0, max_value=200),
)
def test_garbage_raises_only_declared_errors(
    stage: Stage, word: SessionMessage, junk: bytes, place: int
) -> None:
    valid = codec.encode(word)
    for frame in (junk, valid[:place] + junk + valid[place + len(junk) :]):
        with contextlib.suppress(Rejected):
            make_session(stage).receive(frame)
