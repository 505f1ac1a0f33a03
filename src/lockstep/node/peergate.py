"""Between the peer manager and the rest of the node: who may connect, and where frames go."""

from collections.abc import Iterable
from typing import Protocol

from lockstep.ledger.state import ChainState
from lockstep.node.inbox import Inbox
from lockstep.node.recorder import Recorder
from lockstep.node.verifier import FrameVerifier
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis
from lockstep.replica.events import PeerConnected, PeerDisconnected


class PeerGate:
    """Takes what the peer manager hears: frames to the verifier, connections to the replica."""

    def __init__(self, inbox: Inbox, recorder: Recorder | None) -> None:
        """Stand before the inbox; with a recorder every frame is written down as it came."""
        self._inbox = inbox
        self._recorder = recorder
        self._verifier: FrameVerifier | None = None

    def open(self, verifier: FrameVerifier) -> None:
        """Let frames through to the verifier, which is built after the peer manager."""
        self._verifier = verifier

    def deliver(self, peer: bytes, frames: list[bytes]) -> bool:
        """Take frames of a peer; tell whether there is room for more."""
        if self._recorder is not None:
            self._recorder.add(peer, frames)
        return self._verifier is None or self._verifier.deliver(peer, frames)

    async def room(self, peer: bytes) -> None:
        """Wait until there is; meanwhile the peer is not read."""
        if self._verifier is not None:
            await self._verifier.room(peer)

    def connected(self, peer: bytes) -> None:
        """Tell the replica that a session has opened."""
        self._inbox.put_now(PeerConnected(peer=peer))

    def disconnected(self, peer: bytes) -> None:
        """Tell the replica that a session is over, and drop what is not judged yet."""
        if self._verifier is not None:
            self._verifier.forget_peer(peer)
        self._inbox.put_now(PeerDisconnected(peer=peer))


class ChainView(Protocol):
    """Where members are read from."""

    @property
    def genesis(self) -> Genesis:
        """Return what the chain started from."""
        ...

    @property
    def state(self) -> ChainState:
        """Return the chain's state at the tip."""
        ...

    def committee_for_epoch(self, epoch: int) -> Committee | None:
        """Return the committee of an epoch, None where it is not known."""
        ...


class AllowedPeers:
    """Tells whether a node key is a genesis member's, a present member's, or a named follower's."""

    def __init__(self, view: ChainView, followers: Iterable[bytes] = ()) -> None:
        """Read members from this view; let the followers in beside them."""
        self._view = view
        members = (member.node_key for member in view.genesis.members)
        self._first = frozenset((*members, *followers))

    def __call__(self, node_key: bytes) -> bool:
        """Tell whether this node may talk to the holder of the key."""
        if node_key in self._first:
            return True
        committee = self._view.committee_for_epoch(self._view.state.epoch)
        return committee is not None and any(m.node_key == node_key for m in committee.members)
