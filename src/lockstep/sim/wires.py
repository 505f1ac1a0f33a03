"""What a host asks of its network, so that a mask may stand between them."""

from typing import Protocol


class Wires(Protocol):
    """The outgoing side of a node's connections."""

    def broadcast(self, sender: int, data: bytes) -> None:
        """Send a frame to every peer that the sender knows to be connected."""
        ...

    def send(self, sender: int, receiver: int, data: bytes) -> None:
        """Send a frame to one peer; it is lost where the sender has no connection."""
        ...

    def forget(self, node: int) -> None:
        """Take it that a node crashed and knows nobody."""
        ...
