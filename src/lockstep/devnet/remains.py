"""What a stopped node leaves to the judge: its database, what it received, what it announced.

The database is opened for reading only; messages are those the node appended with `--record`, and
announcements those that the load heard over the node's event stream, one JSON object a line.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from lockstep.errors import Fatal
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.state import ChainState
from lockstep.node.recorder import read_recording
from lockstep.primitives import codec
from lockstep.primitives.codec import Malformed, Oversize
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock, Message, decode_message
from lockstep.primitives.params import FRAME_BYTES_MAX
from lockstep.primitives.votes import Vote
from lockstep.replica.effects import Record
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

_decode_event: Final = msgspec.json.Decoder(dict[str, Any]).decode


class BrokenRecording(Fatal):
    """What was recorded of a run cannot be read, so that nothing can be said of the run."""

    code = "judge.recording"


class FinalAnnounced(Struct, frozen=True):
    """A node said that payments are final, by these Confirms [F4]."""

    txids: tuple[bytes, ...]
    epoch: int
    confirms: tuple[Vote, ...]


class BlockAnnounced(Struct, frozen=True):
    """A node said that these payments are in the block of this height."""

    height: int
    block_id: bytes
    txids: tuple[bytes, ...]


Announced = FinalAnnounced | BlockAnnounced


class NodeRemains(Protocol):
    """What the judge reads of one node; every iteration begins anew."""

    @property
    def name(self) -> str:
        """Return what the node is called in findings."""
        ...

    @property
    def state(self) -> ChainState:
        """Return the state of the chain where the node stopped."""
        ...

    @property
    def journal(self) -> Sequence[Record]:
        """Return what the node's journal holds."""
        ...

    def decided(self, height: int) -> DecidedBlock | None:
        """Return the node's block of a height, None above its tip."""
        ...

    def coins(self) -> Mapping[bytes, Coin]:
        """Return all coins in the node's database by outpoint."""
        ...

    def deltas(self) -> Sequence[CoinDelta]:
        """Return what blocks changed above the height whose sum of coins the state has [S1]."""
        ...

    def height_of(self, txid: bytes) -> int | None:
        """Return where the node's index places a transaction, None if nowhere."""
        ...

    def received(self) -> Iterator[Message]:
        """Yield every message of a peer, in order."""
        ...

    def announced(self) -> Iterator[Announced]:
        """Yield everything the node called final, in order."""
        ...


class StoppedNode:
    """The remains of a real node."""

    def __init__(self, name: str, store: Store, *, received: Path, announced: Path) -> None:
        """Read the state and the journal; the rest is read when it is asked for."""
        self.name = name
        self.state = store.load_state()
        self.journal = store.load_journal()
        self._readers: Readers = store.readers()
        self._received = received
        self._announced = announced

    def decided(self, height: int) -> DecidedBlock | None:
        """Return the node's block of a height, None above its tip."""
        return self._readers.decided(height)

    def coins(self) -> Mapping[bytes, Coin]:
        """Return all coins in the node's database by outpoint."""
        return dict(self._readers.all_coins())

    def deltas(self) -> Sequence[CoinDelta]:
        """Return what blocks changed above the height whose sum of coins the state has [S1]."""
        return self._readers.deltas()

    def height_of(self, txid: bytes) -> int | None:
        """Return where the node's index places a transaction, None if nowhere."""
        return self._readers.height_of(txid)

    def received(self) -> Iterator[Message]:
        """Yield every message of a peer that is one; the node judged the others itself."""
        if self._received.exists():
            for _, frame in read_recording(self._received):
                with suppress(Malformed, Oversize):
                    yield decode_message(frame)

    def announced(self) -> Iterator[Announced]:
        """Yield everything the node called final, in order.

        Raises:
            BrokenRecording: If a line is not what a node says.
        """
        if self._announced.exists():
            lines = self._announced.read_bytes().split(b"\n")
            # What follows the last line feed was cut short when its writer ended.
            for number, line in enumerate(lines[:-1], 1):
                try:
                    announced = parse_event(_decode_event(line))
                except (ValueError, KeyError, Malformed) as fault:
                    place = f"line {number} of {self._announced.name}"
                    raise BrokenRecording(f"{place} is no event of a node: {fault}") from fault
                if announced is not None:
                    yield announced


def parse_event(event: Mapping[str, Any]) -> Announced | None:
    """Return what an event of a node's stream calls final, None if nothing.

    Raises:
        ValueError: If a field has the wrong form.
        KeyError: If a field is missing.
        Malformed: If a Confirm is none.
    """
    match event["event"]:
        case "final":
            return FinalAnnounced(
                txids=_from_hexes(event["txids"]),
                epoch=int(event["epoch"]),
                confirms=tuple(
                    codec.decode(Vote, data, size_max=FRAME_BYTES_MAX)
                    for data in _from_hexes(event["confirms"])
                ),
            )
        case "block_transactions":
            return BlockAnnounced(
                height=int(event["height"]),
                block_id=bytes.fromhex(event["hash"]),
                txids=_from_hexes(event["txids"]),
            )
        case _:
            return None


@contextmanager
def open_remains(
    directories: Sequence[Path], evidence: Path, genesis: Genesis
) -> Iterator[list[StoppedNode]]:
    """Open what the nodes in these directories left, and close it at the end.

    Node i's messages and announcements are `node{i}.received` and `node{i}.notices` in `evidence`.

    Raises:
        DirectoryLocked: If a node still runs.
        CorruptedRecord: If a database is damaged.
        WrongChain: If a database is of another chain.
    """
    with ExitStack() as opened:
        nodes = []
        for index, directory in enumerate(directories):
            store = Store.inspect(directory, genesis)
            opened.callback(store.close)
            nodes.append(
                StoppedNode(
                    f"node {index}",
                    store,
                    received=evidence / f"node{index}.received",
                    announced=evidence / f"node{index}.notices",
                )
            )
        yield nodes


def _from_hexes(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple([bytes.fromhex(text) for text in texts])
