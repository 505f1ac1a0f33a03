"""Peers that break the protocol or fall silent are cut, in time, and keep nobody else out."""

import asyncio
import random

import msgspec
import pytest

from lockstep.net.greeting import (
    PROTOCOL_VERSION,
    Ack,
    Goodbye,
    Hello,
    Ping,
    Refused,
    encode_session,
    is_session_frame,
    make_facts,
)
from lockstep.net.wire import encode_frame
from lockstep.primitives import codec
from lockstep.primitives.messages import BlockPage, encode_message
from lockstep.primitives.params import FRAME_BYTES_MAX, HELLO_FRAME_BYTES_MAX
from net.conftest import Run
from net.party import (
    CHAIN_ID,
    HOST,
    LATE_S,
    QUICK,
    Party,
    Stranger,
    ask,
    identity_of,
    town,
    until,
)

STRANGER = identity_of(7)
FACTS = make_facts(network="devnet", chain_id=CHAIN_ID, port=0, height=1, instance=b"s" * 16)
HELLO = encode_session(Hello(PROTOCOL_VERSION, codec.encode(FACTS)))
ALIEN = encode_session(Hello(PROTOCOL_VERSION, b"\xc1"))


def header(size: int) -> bytes:
    return size.to_bytes(4, "big")


BEFORE_HELLO = {
    "frame.oversize": header(HELLO_FRAME_BYTES_MAX + 1),
    "frame.empty": header(0),
    "session.unexpected": encode_session(Ping(1, 1)),
    "bytes.malformed": ALIEN,
}
AFTER_HELLO = {
    "frame.oversize": header(FRAME_BYTES_MAX + 1),
    "frame.empty": header(0),
    "session.unexpected": HELLO,
    "bytes.malformed": encode_frame(b"\x92\x20"),
}


@pytest.mark.parametrize("code", BEFORE_HELLO)
def test_faults_before_the_greeting_are_refused_with_a_code(run: Run, code: str) -> None:
    async def scenario() -> None:
        async with town() as place:
            party = place.start(Party(1))
            stranger = await Stranger.dial(party.address, STRANGER.client_context)
            stranger.writer.write(BEFORE_HELLO[code])
            refused = await stranger.word()
            assert isinstance(refused, Refused)
            assert refused.code == code
            assert await stranger.frame() is None
            await stranger.close()
            assert party.handler.told == []

    run(scenario)


@pytest.mark.parametrize("code", AFTER_HELLO)
def test_faults_after_the_greeting_close_and_make_the_peer_wait(run: Run, code: str) -> None:
    async def scenario() -> None:
        async with town() as place:
            party = place.start(Party(1))
            stranger = await Stranger.dial(party.address, STRANGER.client_context)
            await stranger.hello()
            stranger.writer.write(AFTER_HELLO[code])
            goodbye = await stranger.word()
            assert isinstance(goodbye, Goodbye)
            assert goodbye.code == code
            assert await stranger.frame() is None
            await stranger.close()
            await until(
                lambda: (
                    party.handler.words(STRANGER.public_key) in ([], ["connected", "disconnected"])
                )
            )
            again = await Stranger.dial(party.address, STRANGER.client_context)
            again.writer.write(HELLO)
            refused = await again.word()
            assert isinstance(refused, Refused)
            assert refused.code == "session.cooling"
            await again.close()

    run(scenario)


def test_a_penalised_peer_is_told_and_has_to_wait(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            strict = place.start(Party(1))
            lax = place.start(Party(2, dial=[strict.address]))
            await until(lambda: strict.has(lax) and lax.has(strict))
            strict.manager.penalise(lax.key, "vote.signature")
            await until(lambda: lax.dial_code() == "session.cooling")
            assert strict.handler.words(lax.key) == ["connected", "disconnected"]
            assert lax.handler.words(strict.key) == ["connected", "disconnected"]
            assert lax.manager.dials()[0].sentence.startswith("after a fault")
            # The wait is one second for a first fault, and then all is well again.
            await until(lambda: strict.has(lax) and lax.has(strict))
            assert strict.manager.peers()[0].faults == 1

    run(scenario)


async def send_nothing(party: Party) -> Stranger:
    return await Stranger.dial(party.address, None)


async def prove_and_fall_silent(party: Party) -> Stranger:
    return await Stranger.dial(party.address, STRANGER.client_context)


async def drip(party: Party) -> Stranger:
    """Send a byte now and then: the deadline is for the whole handshake, not for each read."""
    stranger = await Stranger.dial(party.address, STRANGER.client_context)
    for byte in HELLO:
        stranger.writer.write(bytes([byte]))
        await asyncio.sleep(0.1)
        if stranger.writer.is_closing():
            break
    return stranger


@pytest.mark.parametrize("slow", [send_nothing, prove_and_fall_silent, drip])
def test_a_slow_handshake_is_cut_at_the_deadline(run: Run, slow: object) -> None:
    assert callable(slow)

    async def scenario() -> None:
        async with town() as place:
            limits = msgspec.structs.replace(QUICK, handshake_s=0.25, close_s=0.1)
            party = place.start(Party(1, limits=limits))
            start_s = asyncio.get_running_loop().time()
            stranger = await slow(party)
            while await stranger.reader.read(1000):
                pass
            # A byte at a time, the greeting would take longer; silence has no end at all.
            assert 0.2 < asyncio.get_running_loop().time() - start_s < 0.08 * len(HELLO)
            await stranger.close()
            assert party.handler.told == []

    run(scenario)


def test_a_peer_that_never_answers_the_dial_is_given_up_in_time(run: Run) -> None:
    cut: list[float] = []

    async def stay_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start_s = asyncio.get_running_loop().time()
        while await reader.read(1000):
            pass
        cut.append(asyncio.get_running_loop().time() - start_s)
        writer.close()

    async def scenario() -> None:
        mute = await asyncio.start_server(stay_mute, HOST, 0)
        async with mute, town() as place:
            limits = msgspec.structs.replace(QUICK, handshake_s=0.1)
            address = mute.sockets[0].getsockname()
            party = place.start(Party(1, dial=[address], limits=limits))
            await until(lambda: party.dial_code() == "session.handshake_slow")
            await until(lambda: cut)
            await party.manager.close()
            await until(lambda: len(cut) == party.manager.dials()[0].tries)
        assert max(cut) < LATE_S

    run(scenario)


def test_silent_strangers_keep_nobody_out(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            limits = msgspec.structs.replace(QUICK, handshakes_per_ip=4, handshakes_max=6)
            party = place.start(Party(1, limits=limits))
            silent = [await Stranger.dial(party.address, None) for _ in range(20)]
            honest = place.start(Party(2, dial=[party.address]))
            await until(lambda: party.has(honest) and honest.has(party))
            assert honest.manager.dials()[0].tries == 1
            ended = 0
            for stranger in silent[:16]:
                ended += await stranger.frame() is None
            assert ended == 16, "the oldest made room"
            for stranger in silent:
                await stranger.close()

    run(scenario)


def test_a_dead_peer_is_noticed_by_its_silence_and_a_quiet_one_stays(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            limits = msgspec.structs.replace(QUICK, ping_s=0.04)
            party = place.start(Party(1, limits=limits))
            quiet = place.start(Party(2, dial=[party.address], limits=limits))
            dead = await Stranger.dial(party.address, STRANGER.client_context)
            await dead.hello()
            await until(lambda: len(party.keys()) == 2)
            pings = 0
            while isinstance(word := await dead.word(), Ping):
                pings += 1
            assert isinstance(word, Goodbye)
            assert word.code == "session.silent"
            assert pings == limits.missed_max
            await dead.close()
            await until(lambda: party.has(quiet))
            assert party.handler.words(quiet.key) == ["connected"]

    run(scenario)


def test_a_peer_that_does_not_read_is_closed_not_skipped(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            limits = msgspec.structs.replace(QUICK, queue_bytes_max=4_000_000, close_s=0.2)
            party = place.start(Party(1, limits=limits))
            lazy = await Stranger.dial(party.address, STRANGER.client_context)
            await lazy.hello()
            lazy.writer.transport.pause_reading()  # type: ignore[attr-defined]  # A full transport.
            page = BlockPage(1, 0, 1, bytes(500_000))
            while party.keys():
                party.manager.broadcast(page)
                peers = party.manager.peers()
                assert not peers or peers[0].queued_bytes <= limits.queue_bytes_max
                await asyncio.sleep(0)
            await until(lambda: party.handler.words(STRANGER.public_key)[-1] == "disconnected")
            await lazy.close()

    run(scenario)


def test_garbage_after_the_greeting_reaches_the_handler_or_closes(run: Run) -> None:
    """No bytes a peer sends may do anything else; whatever it is, others go on."""
    dice = random.Random(2)

    async def scenario() -> None:
        async with town() as place:
            party = place.start(Party(1))
            honest = place.start(Party(2, dial=[party.address]))
            await until(lambda: party.has(honest))
            closed = 0
            for number in range(40):
                stranger = await Stranger.dial(
                    party.address, identity_of(50 + number).client_context
                )
                await stranger.hello()
                bodies = [dice.randbytes(dice.randrange(1, 200)) for _ in range(20)]
                bodies = [body for body in bodies if not is_session_frame(body)]
                evil = bytes([0x90 + dice.randrange(16), 32 + dice.randrange(8)])
                before = len(party.handler.frames)
                stranger.writer.write(b"".join(map(encode_frame, bodies)))
                await until(lambda: len(party.handler.frames) == before + len(bodies))  # noqa: B023 # Awaited here.
                assert party.handler.frames[before:] == bodies
                stranger.writer.write(encode_frame(evil + dice.randbytes(20)))
                closed += isinstance(await stranger.word(), Goodbye)
                await stranger.close()
            assert closed == 40
            honest.manager.broadcast(ask(77))
            await until(lambda: encode_message(ask(77)) in party.handler.frames)
            assert party.has(honest)

    run(scenario)


def test_the_answer_to_a_hello_is_within_the_small_cap() -> None:
    """A sentence of any length must leave room, or the refusal itself would be our mistake."""
    assert len(encode_session(Refused("c" * 64, "\U0001f600" * 400))) < HELLO_FRAME_BYTES_MAX
    assert len(encode_session(Ack(1, bytes(4096)))) < HELLO_FRAME_BYTES_MAX
