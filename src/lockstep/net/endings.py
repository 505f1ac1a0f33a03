"""Why a session ends that neither side wanted to end."""

from lockstep.errors import Unavailable


class PeerLost(Unavailable):
    """The connection broke without a GOODBYE."""

    code = "session.lost"


class PeerSilent(Unavailable):
    """The peer said nothing, several PINGs long."""

    code = "session.silent"


class QueueFull(Unavailable):
    """The peer takes its messages more slowly than they are made."""

    code = "session.queue_full"
