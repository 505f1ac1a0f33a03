"""Wrong bytes at every door: only the declared refusal comes out, soon, and what is taken is right.

Each door gets its share of `INPUTS` wrong inputs; with the marker `long` twenty times as many. A
failure prints the seed and the input.
"""

import asyncio
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import pytest

from fake_node import FakeNode
from lockstep.crypto.address import format_address, parse_address
from lockstep.errors import LockstepError
from lockstep.net.greeting import Ack, Hello, decode_session, encode_session
from lockstep.net.wire import HEADER_BYTES, FrameDecoder, encode_frame
from lockstep.node.config import SETTINGS_FILE, Settings, format_settings, load_config
from lockstep.primitives import codec
from lockstep.primitives.bitmap import bitmap_bytes, parse_bitmap
from lockstep.primitives.genesis import format_genesis, parse_genesis
from lockstep.primitives.messages import DecidedBlock, decode_message, encode_message
from lockstep.primitives.params import FRAME_BYTES_MAX, NETWORKS
from lockstep.primitives.transaction import Transaction
from lockstep.replica.ingress import Fault, judge_frames
from lockstep.rpc.dispatch import Dispatcher
from lockstep.rpc.table import METHODS
from lockstep.sim.keyed_hash import KeyedHashVerifier
from lockstep.wallet.wallet import create_wallet, load_wallet
from property.mutation import Mutator
from unit.primitives.specimens import DECIDED, GENESIS, MESSAGES, TRANSACTIONS

SEED: Final = 20_261_122
CPU_MS_MAX: Final = 50
PREFIX: Final = NETWORKS["mainnet"].address_prefix


class Door(NamedTuple):
    """A decoder: `enter` returns whether it took the input, or raises a `LockstepError`."""

    name: str
    inputs: int
    samples: list[bytes]
    enter: Callable[[bytes], bool]
    is_text: bool = False


def _shape(shape: Any) -> Callable[[bytes], bool]:
    def enter(data: bytes) -> bool:
        assert codec.encode(codec.decode(shape, data, size_max=FRAME_BYTES_MAX)) == data
        return True

    return enter


def _enter_message(data: bytes) -> bool:
    assert encode_message(decode_message(data)) == data
    return True


class _Lookup:
    """Committees of the specimens' genesis, whatever the epoch."""

    def committee_for_epoch(self, epoch: int) -> Any:
        return GENESIS.committee if epoch < 1_000 else None

    def committee_for_height(self, height: int) -> Any:
        return GENESIS.committee if height < 1_000 else None


def _enter_ingress(data: bytes) -> bool:
    judged = judge_frames(
        [(b"p" * 32, data)],
        chain_id=GENESIS.chain_id,
        lookup=_Lookup(),
        verifier=KeyedHashVerifier(),
    )
    return not any(isinstance(outcome, Fault) for outcome in judged.outcomes)


def _enter_stream(data: bytes) -> bool:
    decoder = FrameDecoder()
    half = len(data) // 2
    return bool([*decoder.feed(data[:half]), *decoder.feed(data[half:])])


def _enter_session(data: bytes) -> bool:
    assert encode_session(decode_session(data))[HEADER_BYTES:] == data
    return True


def _enter_genesis(data: bytes) -> bool:
    genesis = parse_genesis(data)
    assert parse_genesis(format_genesis(genesis)) == genesis
    return True


def _enter_address(data: bytes) -> bool:
    lock = parse_address(PREFIX, data.decode("latin-1"))
    assert format_address(PREFIX, lock).lower() == data.decode("latin-1").lower()
    return True


def _enter_bitmap(data: bytes) -> bool:
    return bitmap_bytes(parse_bitmap(data, 13), 13) == data


@cache
def make_wallet_file() -> bytes:
    """Return the bytes of a wallet file; sealing it takes seconds, so it is made once."""
    with TemporaryDirectory() as name:
        path = Path(name) / "wallet.json"
        words = "abandon " * 23 + "art"
        create_wallet(path, words=words, passphrase="correct horse", network="devnet")
        return path.read_bytes()


def make_doors(directory: Path) -> list[Door]:
    """Return all doors; those that read files read them in `directory`."""
    settings = directory / SETTINGS_FILE
    wallet = directory / "wallet.json"

    def enter_config(data: bytes) -> bool:
        settings.write_bytes(data)
        load_config(directory, environment={}, flags={})
        return True

    def enter_wallet(data: bytes) -> bool:
        wallet.write_bytes(data)
        wallet.chmod(0o600)
        load_wallet(wallet)
        return True

    messages = [encode_message(message) for message in MESSAGES.values()]
    facts = codec.encode(("facts", 1))
    session = [encode_session(m)[HEADER_BYTES:] for m in (Hello(1, facts), Ack(1, facts))]
    return [
        Door("message", 25_000, messages, _enter_message),
        Door("ingress", 25_000, messages, _enter_ingress),
        Door("stream", 10_000, [encode_frame(m) for m in messages if m], _enter_stream),
        Door("session", 5_000, session, _enter_session),
        Door("transaction", 10_000, [codec.encode(t) for t in TRANSACTIONS], _shape(Transaction)),
        Door("decided block", 10_000, [codec.encode(DECIDED)], _shape(DecidedBlock)),
        Door("genesis", 3_000, [format_genesis(GENESIS)], _enter_genesis, is_text=True),
        Door("address", 4_000, [format_address(PREFIX, b"\x07" * 32).encode()], _enter_address),
        Door("bitmap", 3_000, [b"\xff\x1f", b"\x01\x00"], _enter_bitmap),
        Door("settings", 1_500, [format_settings(Settings()).encode()], enter_config, is_text=True),
        Door("wallet file", 1_500, [make_wallet_file()], enter_wallet, is_text=True),
    ]


NAMES: Final = (
    "message",
    "ingress",
    "stream",
    "session",
    "transaction",
    "decided block",
    "genesis",
    "address",
    "bitmap",
    "settings",
    "wallet file",
)
RPC_INPUTS: Final = 2_000
INPUTS: Final = 100_000


def knock(door: Door, seed: int, inputs: int) -> None:
    """Hand wrong inputs to a door; both outcomes must have been seen often enough to mean much."""
    mutator = Mutator(seed, door.samples, is_text=door.is_text)
    assert all(door.enter(sample) for sample in door.samples if door.name != "ingress")
    refused = 0
    for number in range(inputs):
        data = mutator.draw()
        place = f"seed {seed}, input {number}: {data[:200]!r}"
        started = time.process_time()
        try:
            refused += not _try(door, data)
        except Exception as fault:
            raise AssertionError(f"{place} brought out {fault!r}") from fault
        took_ms = 1_000 * (time.process_time() - started)
        if took_ms > CPU_MS_MAX:
            took_ms = 1_000 * _time_again(door, data)
        assert took_ms <= CPU_MS_MAX, f"{place} took {took_ms:.0f} ms"
    assert 2 * refused > inputs, f"only {refused} of {inputs} inputs were wrong"


def _try(door: Door, data: bytes) -> bool:
    """Tell whether the door takes the input; a refusal must have a code and a sentence."""
    try:
        return door.enter(data)
    except LockstepError as fault:
        if not (fault.code and str(fault)):
            raise AssertionError("a refusal without a word") from fault
        return False


def _time_again(door: Door, data: bytes) -> float:
    """Measure once more: a collection of garbage, or a neighbour, is not the input's doing."""
    started = time.process_time()
    _try(door, data)
    return time.process_time() - started


def test_the_doors_get_as_much_as_promised(tmp_path: Path) -> None:
    doors = make_doors(tmp_path)
    assert tuple(door.name for door in doors) == NAMES
    assert sum(door.inputs for door in doors) + RPC_INPUTS >= INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_wrong_bytes_are_refused(name: str, tmp_path: Path) -> None:
    door = next(door for door in make_doors(tmp_path) if door.name == name)
    knock(door, SEED, door.inputs)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_wrong_bytes_are_refused(name: str, tmp_path: Path) -> None:
    door = next(door for door in make_doors(tmp_path) if door.name == name)
    for seed in range(1, 21):
        knock(door, seed, door.inputs)


CALLS: Final = [
    b'{"jsonrpc":"2.0","id":1,"method":"getblockcount","params":[]}',
    b'{"id":"a","method":"getblockhash","params":[0]}',
    b'{"jsonrpc":"2.0","id":2,"method":"getrawtransaction","params":{"txid":"' + b"0" * 64 + b'"}}',
    b'[{"method":"help"},{"method":"getmempoolinfo","id":null}]',
    b'{"version":"1.1","method":"decoderawtransaction","params":["c0"],"id":3}',
    b'{"jsonrpc":"2.0","method":"help","id":1e400}',
    b'{"jsonrpc":"2.0","method":"help","id":"\\ud800"}',
]


async def _knock_at_rpc(directory: Path, seed: int, inputs: int) -> None:
    door = Dispatcher(FakeNode(directory).service, METHODS)
    mutator = Mutator(seed, CALLS, is_text=True)
    for number in range(inputs):
        data = mutator.draw()
        place = f"seed {seed}, input {number}: {data[:200]!r}"
        async with asyncio.timeout(10):
            reply = await door.dispatch(data)
        assert b"rpc.internal" not in reply.body, place
        assert reply.status in {200, 204, 400, 404, 500}, place
        if reply.body:
            # An id comes back byte for byte, also a number that no float can hold.
            json.loads(reply.body)


@pytest.mark.slow
async def test_wrong_calls_get_an_answer(tmp_path: Path) -> None:
    await _knock_at_rpc(tmp_path, SEED, RPC_INPUTS)


@pytest.mark.long
async def test_many_wrong_calls_get_an_answer(tmp_path: Path) -> None:
    await _knock_at_rpc(tmp_path, 1, 20 * RPC_INPUTS)
