"""Who may talk to whom, over real sockets: both directions, each refusal, forged certificates."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from lockstep.net import identity
from lockstep.net.greeting import (
    PROTOCOL_VERSION,
    Hello,
    Refused,
    encode_session,
    make_facts,
)
from lockstep.net.identity import make_leaf
from lockstep.primitives import codec
from net.conftest import Run
from net.party import HOST, QUICK, Address, Party, Stranger, ask, identity_of, town, until


def test_two_nodes_meet_and_talk_in_both_directions(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            quick = msgspec.structs.replace(QUICK, ping_s=0.02)
            listener = place.start(Party(1, limits=quick))
            dialler = place.start(Party(2, dial=[listener.address], limits=quick))
            await until(lambda: listener.has(dialler) and dialler.has(listener))
            for height in range(500):
                dialler.manager.broadcast(ask(height))
                listener.manager.send(dialler.key, ask(1000 + height))
            await until(lambda: len(listener.handler.frames) == 500)
            await until(lambda: len(dialler.handler.frames) == 500)
            assert listener.handler.heights() == list(range(500))
            assert dialler.handler.heights() == list(range(1000, 1500))
            listener.manager.send(b"nobody" * 6, ask(1))
            await until(lambda: dialler.manager.peers()[0].latency_us is not None)
            (met,), (seen,) = dialler.manager.peers(), listener.manager.peers()
            assert (met.dialled, seen.dialled) == (True, False)
            assert (met.height, seen.height) == (101, 102)
            assert met.bytes_in > 500 * 8 < met.bytes_out
            assert met.address == f"{HOST}:{listener.manager.port}"
            assert met.software == seen.software != ""
            assert dialler.dial_code() == ""

    run(scenario)


REFUSALS: dict[str, tuple[Callable[[Address], Party], Callable[[], Party]]] = {
    "session.wrong_network": (
        lambda address: Party(2, dial=[address], network="testnet"),
        lambda: Party(1),
    ),
    "session.wrong_chain": (
        lambda address: Party(2, dial=[address], chain_id=b"d" * 32),
        lambda: Party(1),
    ),
    "session.unknown_key": (
        lambda address: Party(2, dial=[address]),
        lambda: Party(1, allowed=lambda _: False),
    ),
    "session.self": (lambda address: Party(1, dial=[address]), lambda: Party(1)),
    "session.full": (
        lambda address: Party(2, dial=[address]),
        lambda: Party(1, limits=msgspec.structs.replace(QUICK, peers_max=0)),
    ),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_is_told_to_the_dialling_side(run: Run, code: str) -> None:
    async def scenario() -> None:
        async with town() as place:
            make_dialler, make_listener = REFUSALS[code]
            listener = place.start(make_listener())
            dialler = place.start(make_dialler(listener.address))
            await until(lambda: dialler.dial_code() == code)
            (info,) = dialler.manager.dials()
            assert len(info.sentence) > 20
            assert listener.handler.told == dialler.handler.told == []

    run(scenario)


def test_other_rules_are_refused(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            listener = place.start(Party(1))
            dialler = Party(2, dial=[listener.address])
            facts = msgspec.structs.replace(dialler.manager._roster.own_facts(), rules=b"r" * 32)
            dialler.manager._roster.own_facts = lambda: facts  # type: ignore[method-assign]  # Planted.
            place.start(dialler)
            await until(lambda: dialler.dial_code() == "session.wrong_rules")
            assert listener.handler.told == dialler.handler.told == []

    run(scenario)


def test_the_dialling_side_chooses_its_peers_as_well(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            listener = place.start(Party(1))
            dialler = place.start(Party(2, dial=[listener.address], allowed=lambda _: False))
            await until(lambda: dialler.dial_code() == "session.unknown_key")
            assert dialler.handler.told == []
            await until(lambda: not listener.keys())

    run(scenario)


def test_dialling_oneself_is_given_up(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            first = Party(1)
            port = first.manager.port
            await first.manager.close()
            narcissus = place.start(Party(1, dial=[(HOST, port)], port=port))
            await until(lambda: narcissus.dial_code() == "session.self")
            await asyncio.sleep(0.1)
            assert narcissus.manager.dials()[0].tries == 1

    run(scenario)


def make_context(
    tmp_path: Path, protocol: int, leaf: x509.Certificate, key: object
) -> ssl.SSLContext:
    """Make a context like ours, but with any leaf and key."""
    assert isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)
    pem = leaf.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "leaf.pem").write_bytes(pem)
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(tmp_path / "leaf.pem")
    return context


def rsa_leaf(*, foreign: bool) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    """Make an RSA leaf of our authority, or of itself."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if not foreign:
        builder = identity._builder("rsa", b"rsa").public_key(key.public_key())
        return builder.sign(identity._authority_key(), None), key
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "elsewhere")])
    leaf = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256())
    )
    return leaf, key


@pytest.mark.parametrize("foreign", [False, True], ids=["of our authority", "foreign"])
def test_a_leaf_without_a_node_key_is_refused_by_both_sides(
    run: Run, tmp_path: Path, foreign: bool
) -> None:
    leaf, key = rsa_leaf(foreign=foreign)

    async def scenario() -> None:
        client = make_context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, leaf, key)
        server = make_context(tmp_path, ssl.PROTOCOL_TLS_SERVER, leaf, key)
        async with town() as place:
            listener = place.start(Party(1))
            stranger = await Stranger.dial(listener.address, client)
            facts = make_facts(
                network="devnet", chain_id=b"c" * 32, port=0, height=0, instance=b"i" * 16
            )
            stranger.writer.write(encode_session(Hello(PROTOCOL_VERSION, codec.encode(facts))))
            assert await stranger.frame() is None
            await stranger.close()
            port_of = await asyncio.start_server(lambda _, w: w.close(), HOST, 0, ssl=server)
            async with port_of:
                address = port_of.sockets[0].getsockname()
                dialler = place.start(Party(2, dial=[address]))
                await until(lambda: dialler.dial_code() == "session.wrong_certificate")
            assert listener.handler.told == dialler.handler.told == []

    run(scenario)


def test_plaintext_and_old_tls_are_refused(run: Run) -> None:
    async def scenario() -> None:
        async with town() as place:
            listener = place.start(Party(1))
            plain = await Stranger.dial(listener.address, None)
            plain.writer.write(encode_session(Hello(PROTOCOL_VERSION, b"")))
            while data := await plain.reader.read(1000):
                assert data[0] == 21, "nothing but a TLS alert comes back"
            await plain.close()
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname = False
            old.verify_mode = ssl.CERT_NONE
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError, match=r"SSL|^$"):
                await Stranger.dial(listener.address, old)
            anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            anonymous.check_hostname = False
            anonymous.verify_mode = ssl.CERT_NONE
            nobody = await Stranger.dial(listener.address, anonymous)
            assert await nobody.frame() is None
            await nobody.close()
            assert listener.handler.told == []

    run(scenario)


def test_a_plaintext_listener_is_not_talked_to(run: Run) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.write(encode_session(Refused("session.full", "in the clear")))
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(answer, HOST, 0)
        async with server, town() as place:
            dialler = place.start(Party(2, dial=[server.sockets[0].getsockname()]))
            await until(lambda: dialler.dial_code() == "session.tls_failed")
        assert heard[0][0] == 22, "a TLS handshake record, and no HELLO in the clear"

    run(scenario)


async def forward(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Stranger
) -> None:
    """Copy both ways until one side is done."""

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(copy(reader, upstream.writer))
        group.create_task(copy(upstream.reader, writer))


@pytest.mark.parametrize("breaks_tls", [False, True], ids=["forwards", "re-terminates"])
def test_a_man_in_the_middle_cannot_pose_as_the_peer(run: Run, breaks_tls: bool) -> None:
    """The forwarder is the control: the same path works while TLS stays whole."""

    async def scenario() -> None:
        async with town() as place:
            mallory = identity_of(9)
            honest = [identity_of(1).public_key, identity_of(2).public_key]
            listener = place.start(Party(1, allowed=honest.__contains__))
            links: set[asyncio.Task[None]] = set()

            async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                link = asyncio.current_task()
                assert link
                links.add(link)
                context = mallory.client_context if breaks_tls else None
                await forward(reader, writer, await Stranger.dial(listener.address, context))

            context = mallory.server_context if breaks_tls else None
            server = await asyncio.start_server(relay, HOST, 0, ssl=context)
            async with server:
                dialler = place.start(
                    Party(
                        2,
                        dial=[server.sockets[0].getsockname()],
                        allowed=honest.__contains__,
                    )
                )
                if breaks_tls:
                    await until(lambda: dialler.dial_code() == "session.unknown_key")
                    assert listener.handler.told == dialler.handler.told == []
                else:
                    await until(lambda: dialler.has(listener) and listener.has(dialler))
                await place.close()
                await asyncio.gather(*links, return_exceptions=True)

    run(scenario)


def test_nobody_can_show_anothers_leaf(tmp_path: Path) -> None:
    """The leaf of any key can be made by anybody; TLS demands the key that belongs to it."""
    victim = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    own = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
    leaf = make_leaf(victim.public_key())
    make_context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, leaf, victim)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        make_context(tmp_path, ssl.PROTOCOL_TLS_CLIENT, leaf, own)
