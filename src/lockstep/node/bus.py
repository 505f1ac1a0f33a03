"""The bus: every notice of the replica to every listener of this process, in order.

Listeners are called on the loop's thread and must return at once. Who serves slow readers, like the
event stream of the RPC, keeps a bounded queue for each and drops those that fall behind.
"""

from collections.abc import Callable

from lockstep.replica.effects import Notice

Listener = Callable[[Notice], None]


class Bus:
    """All listeners of one node, called in the order in which they joined."""

    def __init__(self) -> None:
        """Begin without listeners."""
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call the listener with every notice from now on."""
        self._listeners.append(listener)

    def publish(self, notice: Notice) -> None:
        """Tell all listeners; what they told about is synced already [F4]."""
        for listener in self._listeners:
            listener(notice)
