"""Notes every word of masked members: what it counts for, and where they contradict themselves."""

from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import Message, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote
from lockstep.sim.promise_checker import PromiseChecker

Place = tuple[object, ...]


class MaskedWords:
    """What masked members said to honest peers.

    Attributes:
        equivocations: Words that contradict an earlier one of the same key [N4].
    """

    def __init__(self, masked: dict[bytes, None], promises: PromiseChecker) -> None:
        """Note the words of these members; Votes count with the checker as they do on the wire."""
        self.equivocations = 0
        self._masked = masked
        self._promises = promises
        self._seen: dict[bytes, None] = {}
        self._values: dict[Place, dict[bytes | None, None]] = {}

    def on_batch(self, batch_id: bytes, txids: tuple[bytes, ...]) -> None:
        """Note what a batch id stands for."""
        self._promises.batches[batch_id] = txids

    def on_said(self, data: bytes, message: Message) -> None:
        """Note a message that leaves for an honest peer."""
        if data in self._seen:
            return
        self._seen[data] = None
        match message:
            case Vote(voter=voter) if voter in self._masked:
                self.equivocations += self._promises.on_masked_vote(message)
            case Freeze(voter=voter, epoch=epoch, digest=digest) if voter in self._masked:
                self._note((voter, epoch), digest)
            case Ballot(voter=voter) if voter in self._masked:
                self._note((voter, message.height, message.round, message.kind), message.block_id)
            case ProposalMessage(proposal=proposal) if proposal.proposer in self._masked:
                value = b"%d %b" % (proposal.valid_round, proposal.block_id)
                self._note((proposal.proposer, proposal.height, proposal.round), value)
            case _:
                pass

    def _note(self, place: Place, value: bytes | None) -> None:
        values = self._values.setdefault(place, {})
        values[value] = None
        self.equivocations += len(values) == 2
