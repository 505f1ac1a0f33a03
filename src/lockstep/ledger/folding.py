"""The sum of the coins, followed off the vote path: net changes gathered, then folded in [S1].

A closing block commits to the coins as they stood above the one before. So the net change of an
epoch is gathered block by block; during the next epoch what is made and spent within it cancels
out, and the rest is folded into the sum, a slice at a time. Who needs the sum sooner finishes at
once.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from lockstep.errors import Misuse
from lockstep.ledger.coins import Coin, CoinDelta, NamedCoin
from lockstep.ledger.commitment import add_coins
from lockstep.ledger.state import ChainState
from lockstep.ledger.transition import replay_transactions
from lockstep.primitives.block import Block
from lockstep.primitives.transaction import make_txid

GATHERED_MAX: Final = 150_000
"""Changes gathered in one piece; a longer epoch is folded before it ends, and cancels less."""
CANCELLED_A_FOLD: Final = 4
"""How many changes cancel out in the time in which one is folded."""


class _Changes:
    """Net changes of some blocks on end, and blocks on top of them that are to cancel out yet."""

    __slots__ = ("_blocks", "_waiting", "created", "spent")

    def __init__(self) -> None:
        self.created: dict[bytes, Coin] = {}
        self.spent: dict[bytes, Coin] = {}
        self._blocks: deque[CoinDelta] = deque()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self.created) + len(self.spent) + self._waiting

    def add(self, delta: CoinDelta) -> None:
        # To hold it is all that a decision has to wait for.
        self._blocks.append(delta)
        self._waiting += len(delta.created) + len(delta.spent)

    def cancel_out(self, limit: int) -> bool:
        """Take blocks in until `limit` changes are; tell whether all are now."""
        while self._blocks and limit > 0:
            delta = self._blocks.popleft()
            limit -= len(delta.created) + len(delta.spent)
            self._take_in(delta)
        return not self._blocks

    def _take_in(self, delta: CoinDelta) -> None:
        self._waiting -= len(delta.created) + len(delta.spent)
        created = self.created
        spent = dict(delta.spent)
        # What was made and is spent in the same blocks has changed nothing.
        for outpoint in [outpoint for outpoint in spent if outpoint in created]:
            del created[outpoint], spent[outpoint]
        self.spent.update(spent)
        created.update(delta.created)


class CoinFolding:
    """The sum of the coins above the last closing block, and the changes since.

    Attributes:
        due_at_close: How many changes were due when the epoch began.
    """

    def __init__(self, state: ChainState) -> None:
        """Begin with the sum that `state` has; the blocks above its height are to be added."""
        self._total = state.coins_sum
        self._due: deque[_Changes] = deque()
        self._gathered = deque([_Changes()])
        self._settled: bytes | None = state.coins_sum
        self.due_at_close = 0

    @property
    def due(self) -> int:
        """Return how many changes are to be folded before the next closing block."""
        return sum(map(len, self._due))

    @property
    def has_work(self) -> bool:
        """Tell whether `fold` has anything to do now."""
        return bool(self._due) or len(self._gathered) > 1

    def add(self, delta: CoinDelta) -> None:
        """Gather what a decided block changed."""
        gathered = self._gathered[-1]
        gathered.add(delta)
        if len(gathered) > GATHERED_MAX:
            self._gathered.append(_Changes())

    def close(self) -> None:
        """Begin an epoch: what was gathered is due before it ends.

        Raises:
            Misuse: If the changes before are not folded yet, which the block just decided needed.
        """
        if self._settled is None:
            raise Misuse("an epoch ended before its sum of coins was known")
        self._due, self._gathered = self._gathered, deque([_Changes()])
        self._settled = None
        self.due_at_close = self.due
        self._settle()

    def fold(self, limit: int) -> None:
        """Fold at most `limit` changes in, first those that are due, or do as much towards it."""
        queue = self._due or self._gathered
        if not self.has_work or not queue[0].cancel_out(CANCELLED_A_FOLD * limit):
            return
        created, spent = _take(queue[0], limit)
        self._total = add_coins(self._total, created=created, spent=spent)
        if not queue[0]:
            queue.popleft()
        self._settle()

    def settled(self) -> bytes:
        """Return the sum of the coins above the last closing block; finish it if need be [S1]."""
        while self._settled is None:
            self.fold(GATHERED_MAX)
        return self._settled

    def _settle(self) -> None:
        while self._due and not self._due[0]:
            self._due.popleft()
        if not self._due and self._settled is None:
            self._settled = self._total


def _take(changes: _Changes, limit: int) -> tuple[list[NamedCoin], list[NamedCoin]]:
    """Take up to `limit` changes out; the sum does not ask which."""
    created = [changes.created.popitem() for _ in range(min(limit, len(changes.created)))]
    rest = min(limit - len(created), len(changes.spent))
    return created, [changes.spent.popitem() for _ in range(rest)]


class _SpentCoins:
    """A view of the coins that a block is known to have spent."""

    def __init__(self, spent: Iterable[NamedCoin]) -> None:
        self._coins = dict(spent)

    def coins_of(self, outpoints: Sequence[bytes]) -> list[Coin | None]:
        return [self._coins.get(outpoint) for outpoint in outpoints]

    def height_of(self, txid: bytes) -> int | None:  # noqa: ARG002  # Nobody asks.
        return None


def rebuild_delta(block: Block, spent: Iterable[NamedCoin]) -> CoinDelta:
    """Return what a decided block changed; `spent` are the coins of blocks below that it spent.

    Raises:
        UnknownCoin: If they are not all of them.
    """
    return replay_transactions(
        [(make_txid(transaction.body), transaction) for transaction in block.transactions],
        view=_SpentCoins(spent),
        height=block.header.height,
    )
