"""What was refused lately and why: bounded, by leaf for programs, by txid for people [B1].

A txid does not cover witnesses, so somebody can put a bad witness on another's payment. Remembering
that by txid would refuse the good copy too.
"""

from msgspec import Struct

from lockstep.primitives.params import REFUSED_MAX


class Refusal(Struct, frozen=True):
    """One refused transaction: its leaf and txid, the reason, and when, in ms."""

    leaf: bytes
    txid: bytes
    code: str
    sentence: str
    at_ms: int


class Refusals:
    """The last refusals, at most `capacity`; the oldest is dropped first."""

    def __init__(self, *, capacity: int = REFUSED_MAX) -> None:
        """Remember nothing yet."""
        self._capacity = capacity
        self._by_leaf: dict[bytes, Refusal] = {}
        self._leaves_of: dict[bytes, dict[bytes, None]] = {}

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._by_leaf)

    def remember(self, refusal: Refusal) -> None:
        """Add a refusal as the newest one; it replaces an older one of the same leaf."""
        self.forget(refusal.leaf)
        self._by_leaf[refusal.leaf] = refusal
        self._leaves_of.setdefault(refusal.txid, {})[refusal.leaf] = None
        if len(self._by_leaf) > self._capacity:
            self.forget(next(iter(self._by_leaf)))

    def find(self, leaf: bytes) -> Refusal | None:
        """Return why the transaction with exactly these bytes was refused, or None [B1]."""
        return self._by_leaf.get(leaf)

    def find_txid(self, txid: bytes) -> Refusal | None:
        """Return the newest refusal of any copy of this payment, or None."""
        leaves = self._leaves_of.get(txid)
        return self._by_leaf[next(reversed(leaves))] if leaves else None

    def forget(self, leaf: bytes) -> None:
        """Drop what is remembered of this leaf, if anything is."""
        refusal = self._by_leaf.pop(leaf, None)
        if refusal is None:
            return
        leaves = self._leaves_of[refusal.txid]
        del leaves[leaf]
        if not leaves:
            del self._leaves_of[refusal.txid]
