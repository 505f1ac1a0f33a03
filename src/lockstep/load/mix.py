"""Which kinds of payment a load is made of; pure.

Shares are of payments: `chained=10` means that a tenth of all payments are parents and children,
handed in together, `conflicting=5` that a twentieth are rivals, two for each coin.
"""

from collections.abc import Mapping
from typing import Final

from lockstep.errors import Rejected
from lockstep.load.payments import Kind

SHARE_MAX: Final = 1_000
PAIRED: Final = frozenset({Kind.CHAINED, Kind.CONFLICTING})


class WrongMix(Rejected):
    """A mix names no kind of payment, or gives one no share."""

    code = "load.mix"
    hint = f"write it like one=80,two=10,multisig=10; kinds: {', '.join(Kind)}"


class Mix:
    """Divides payments among kinds, so that the shares hold over any stretch of them."""

    def __init__(self, shares: Mapping[Kind, int] | None = None) -> None:
        """Divide by these shares; without any, all payments are of one coin each."""
        self.shares = dict(shares) if shares else {Kind.ONE: 1}
        self._total = sum(self.shares.values())
        self._owed = dict.fromkeys(self.shares, 0)

    def share_of(self, kind: Kind, count: int) -> int:
        """Return how many of `count` payments are of a kind, rounded up."""
        return -(-count * self.shares.get(kind, 0) // self._total)

    def divide(self, count: int) -> dict[Kind, int]:
        """Return how many of the next `count` payments are of each kind; pairs are not parted."""
        parts: dict[Kind, int] = {}
        for kind, share in self.shares.items():
            self._owed[kind] += count * share
            step = 2 if kind in PAIRED else 1
            parts[kind] = self._owed[kind] // (self._total * step) * step
            self._owed[kind] -= parts[kind] * self._total
        return parts

    def describe(self) -> str:
        """Return the mix as it is written."""
        return ",".join(f"{kind}={share}" for kind, share in self.shares.items())


def parse_mix(text: str) -> dict[Kind, int]:
    """Read `one=70,two=10,multisig=20`.

    Raises:
        WrongMix: If it is no such list.
    """
    shares: dict[Kind, int] = {}
    for word in text.split(","):
        name, _, number = word.strip().partition("=")
        if name not in Kind.__members__.values():
            raise WrongMix(f"there is no kind of payment {name[:40]!r}")
        if not (number.isascii() and number.isdigit() and 0 < int(number) <= SHARE_MAX):
            raise WrongMix(f"{word.strip()[:40]!r} gives no share from 1 to {SHARE_MAX}")
        if name in shares:
            raise WrongMix(f"{name!r} stands twice")
        shares[Kind(name)] = int(number)
    return shares
