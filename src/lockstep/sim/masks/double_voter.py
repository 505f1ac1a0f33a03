"""Both values of a conflict, one for each side: ballots, Votes and Confirms [N4, B4]."""

from collections.abc import Sequence

from lockstep.primitives.bitmap import bitmap_bytes
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.messages import Message
from lockstep.primitives.votes import Entry, VoteKind
from lockstep.replica.core import Core
from lockstep.sim.masks.cabal import Side
from lockstep.sim.masks.mask import Mask, Stage


class DoubleVoter(Mask):
    """Signs anew what its core signed, for the other value, and votes for every rival it meets."""

    name = "double_voter"

    def __init__(self, stage: Stage) -> None:
        """Know no rivals yet."""
        super().__init__(stage)
        self._epoch = -1
        self._seen_batches: dict[bytes, None] = {}
        self._spenders: dict[bytes, dict[bytes, Entry]] = {}
        self._contested: dict[bytes, None] = {}
        self._said: dict[tuple[int, VoteKind, bytes], None] = {}

    def on_leaving(self, peer: int, message: Message) -> Sequence[Message]:
        """Tell the left one block, the right another or nil."""
        if not isinstance(message, Ballot) or not self.is_own(message):
            return (message,)
        core = self.stage.core
        if core is None or core.height.height != message.height:
            return (message,)
        values: list[bytes | None] = [*self._blocks(core, message.height, message.round)]
        if not values:
            return (message,)
        values.append(None)
        left, right = values[0], values[1]
        self.did()
        match self.stage.cabal.side_of(peer):
            case Side.LEFT:
                return (self._ballot(message, left),)
            case Side.RIGHT:
                return (self._ballot(message, right),)
            case Side.BOTH:
                return (self._ballot(message, left), self._ballot(message, right))

    def on_tick(self) -> None:
        """Vote for and confirm rivals, the first to the left, the last to the right."""
        core = self.stage.core
        if core is None:
            return
        self._learn(core)
        for outpoint in self._contested:
            rivals = self._spenders[outpoint]
            first, last = min(rivals), max(rivals)
            for peer in self.stage.peers():
                side = self.stage.cabal.side_of(peer)
                if side is not Side.RIGHT:
                    self._vote(core, peer, first, rivals[first])
                if side is not Side.LEFT:
                    self._vote(core, peer, last, rivals[last])

    def _blocks(self, core: Core, height: int, round_number: int) -> list[bytes]:
        found = dict(self.stage.cabal.blocks.get((height, round_number), {}))
        for block_id, candidate in core.height.candidates.items():
            if candidate.round == round_number:
                found[block_id] = None
        return sorted(found)

    def _ballot(self, message: Ballot, value: bytes | None) -> Ballot:
        if value == message.block_id:
            return message
        is_timed = value is not None and message.kind is BallotKind.PRECOMMIT
        return self.stage.voice.ballot(
            message.kind,
            message.height,
            message.round,
            value,
            time_ms=self.stage.time_ms if is_timed else 0,
        )

    def _learn(self, core: Core) -> None:
        """Note who spends what, of the batches that came since the last look."""
        if core.finality.epoch != self._epoch:
            self._epoch = core.finality.epoch
            self._seen_batches, self._spenders = {}, {}
            self._contested, self._said = {}, {}
        for batch_id, batch in core.batches.items():
            if batch_id in self._seen_batches:
                continue
            self._seen_batches[batch_id] = None
            for position, verified in enumerate(batch.transactions):
                if verified is None:
                    continue
                entry = Entry(batch_id, bitmap_bytes(1 << position, len(batch.txids)))
                for outpoint in verified.transaction.body.inputs:
                    rivals = self._spenders.setdefault(outpoint, {})
                    rivals.setdefault(verified.txid, entry)
                    if len(rivals) > 1:
                        self._contested[outpoint] = None

    def _vote(self, core: Core, peer: int, txid: bytes, entry: Entry) -> None:
        for kind in VoteKind:
            key = (peer, kind, txid)
            if key not in self._said:
                self._said[key] = None
                self.did()
                self.stage.say(peer, self.stage.voice.vote(kind, core.finality.epoch, [entry]))
