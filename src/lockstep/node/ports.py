"""What the runtime needs of the rest of the node, as narrow protocols."""

from collections.abc import Sequence
from typing import Protocol

from lockstep.primitives.messages import Message
from lockstep.replica.effects import Effect, Record
from lockstep.replica.events import Event


class Core(Protocol):
    """The replica, as the runtime drives it."""

    def step(self, event: Event, *, time_ms: int, is_gathering: bool) -> list[Effect]:
        """Handle one event; `time_ms` is the wall clock. Raises nothing but Fatal."""
        ...

    def speak(self, *, time_ms: int) -> list[Effect]:
        """Say what was promised in steps that were gathering. Raises nothing but Fatal."""
        ...


class Store(Protocol):
    """Whatever makes records durable; called in the storage thread alone."""

    def commit(self, records: Sequence[Record]) -> None:
        """Write the records in one synced transaction; DiskFull asks for them again later."""
        ...

    def shortage(self) -> str | None:
        """Return in one sentence why nothing more should be written now, or None."""
        ...


class BlockReader(Protocol):
    """Whatever reads decided blocks; called on the loop's thread."""

    def renew(self) -> None:
        """See what was committed until now."""
        ...

    def decided_page(self, height: int, page: int) -> tuple[bytes, int] | None:
        """Return a page of an encoded decided block and the number of its pages, or None."""
        ...


class Peers(Protocol):
    """Whatever speaks to peers; queues and returns at once."""

    def broadcast(self, message: Message) -> None:
        """Send to every connected peer."""
        ...

    def send(self, peer: bytes, message: Message) -> None:
        """Send to one peer, if it is connected."""
        ...

    def flush(self) -> None:
        """Let what is queued leave at once."""
        ...

    def penalise(self, peer: bytes, code: str) -> None:
        """Note that the peer did what no honest node does."""
        ...


class Requests(Protocol):
    """Whatever must know which decided blocks were asked for."""

    def ask(self, peer: bytes, height: int) -> None:
        """Note that the peer is asked for this block."""
        ...


class Observer(Protocol):
    """Whatever derives numbers from what happens, outside the core."""

    def on_step(self, event: Event, effects: Sequence[Effect], seconds: float) -> None:
        """Look at a step and the CPU time it took."""
        ...

    def on_spoken(self, effects: Sequence[Effect]) -> None:
        """Look at what was promised in several steps and is said now."""
        ...

    def on_commit(self, records: int, seconds: float) -> None:
        """Look at a commit of that many records."""
        ...

    def on_lag(self, seconds: float) -> None:
        """Look at how late the loop was."""
        ...
