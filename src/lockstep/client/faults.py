"""What a caller of a node may meet."""

from lockstep.errors import LockstepError, Unavailable


class RpcError(LockstepError):
    """The node answered with an error.

    Attributes:
        number: The JSON-RPC error number, Bitcoin's where it has one.
        code: The node's dotted code for it.
        hint: The next step, or an empty string.
        retry_after_ms: When the same may succeed, 0 where the node does not say.
    """

    code = "rpc.error"

    def __init__(
        self, number: int, code: str, message: str, hint: str = "", *, retry_after_ms: int = 0
    ) -> None:
        """Carry the node's answer."""
        super().__init__(message)
        self.number = number
        self.code = code  # type: ignore[misc]  # The node chooses it, so it is the instance's.
        self.retry_after_ms = retry_after_ms
        self.hint = hint  # type: ignore[misc]  # The same.

    @property
    def message(self) -> str:
        """Return the node's sentence."""
        return str(self)


class NodeUnreachable(Unavailable):
    """The node cannot be reached, or its answer broke off."""

    code = "client.unreachable"
    hint = "check that the node runs and that the address is right"


class NodeSlow(Unavailable):
    """The node did not answer in time; whether it took the call is not known."""

    code = "client.timeout"


class NodeBusy(Unavailable):
    """The node has as many connections as it takes, and did not look at the call."""

    code = "client.busy"
    hint = "open fewer connections, or try again in a moment"


class NotAuthorized(Unavailable):
    """The node refused the cookie."""

    code = "client.unauthorized"
    hint = "check that the cookie file is that of the running node"


class NoCookie(Unavailable):
    """There is no cookie file to read."""

    code = "client.no_cookie"
    hint = "start the node, or run this as the user who runs it"


class BadAnswer(Unavailable):
    """What answered is no Lockstep node."""

    code = "client.bad_answer"
    hint = "check that the address is the RPC address of a node"


class SubscriptionLost(Unavailable):
    """The event stream ended; events may have been missed since."""

    code = "client.subscription_lost"
    hint = "subscribe again, and ask for what may have been missed"
