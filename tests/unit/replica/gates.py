"""What a test lets pass between the nodes of a cluster, keeps back, or listens to."""

from collections.abc import Callable

from lockstep.primitives.messages import GetBatches, GetVotes, Message

Gate = Callable[[int, int, Message], bool]
"""Tells of (sender, receiver, message) whether it passes."""


def refuse(shape: type[Message], **fields: object) -> Gate:
    """Return a gate that keeps messages of this shape back, where all fields are as given."""

    def gate(sender: int, receiver: int, message: Message) -> bool:
        return not isinstance(message, shape) or any(
            getattr(message, name) != value for name, value in fields.items()
        )

    return gate


def overhear(heard: list[int], kind: type[GetVotes | GetBatches], *, sender: int) -> Gate:
    """Return a gate that lets all pass and notes to whom this sender sends such messages."""

    def gate(s: int, r: int, m: Message) -> bool:
        if s == sender and isinstance(m, kind):
            heard.append(r)
        return True

    return gate
