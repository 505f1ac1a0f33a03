"""What all hosts of a world share, and who looks at everything they do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lockstep.crypto.keys import Verifier
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import Message
from lockstep.replica.effects import Effect, Notice
from lockstep.sim.clock import Clock
from lockstep.sim.tape import Tape
from lockstep.sim.wires import Wires

if TYPE_CHECKING:
    from lockstep.sim.host import Host


class Observer(Protocol):
    """Who looks at everything a host does; the checkers and the clients."""

    def on_effects(self, host: "Host", effects: Sequence[Effect]) -> None:
        """See what a step asks for, before any of it is done."""
        ...

    def on_sent(self, host: "Host", message: Message) -> None:
        """See a message leave."""
        ...

    def on_notice(self, host: "Host", notice: Notice) -> None:
        """See what a node tells its people."""
        ...

    def on_blamed(self, host: "Host", peer: bytes, code: str) -> None:
        """See a node hold something against a peer."""
        ...

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """See a batch made."""
        ...

    def on_recovered(self, host: "Host") -> None:
        """See a node rebuilt from its disk, before it starts."""
        ...


class Surroundings:
    """What all hosts of a world share."""

    __slots__ = ("clock", "genesis", "network", "observer", "peers", "tape", "verifier")

    def __init__(
        self,
        *,
        clock: Clock,
        network: Wires,
        genesis: Genesis,
        verifier: Verifier,
        tape: Tape,
        observer: Observer,
    ) -> None:
        """Put the shared parts together."""
        self.clock = clock
        self.network = network
        self.genesis = genesis
        self.verifier = verifier
        self.tape = tape
        self.observer = observer
        self.peers = [member.node_key for member in genesis.members]
