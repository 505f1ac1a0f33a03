"""Amounts as people write them: coins with up to eight decimals, exactly; never a float [L1]."""

import re
from typing import Final

from lockstep.errors import Rejected
from lockstep.primitives.params import COIN, SUPPLY_MAX

DECIMALS: Final = 8
_SHAPE: Final = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,8}))?")


class MalformedAmount(Rejected):
    """The text is no amount of coins."""

    code = "amount.malformed"
    hint = "write coins with at most eight decimals, like 1.5 or 0.00001000"


def parse_amount(text: str) -> int:
    """Read an amount of coins as base units.

    Raises:
        MalformedAmount: If it is no amount, has more than eight decimals, or exceeds the supply.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise MalformedAmount(f"{text[:40]!r} is no amount of coins")
    whole, fraction = found.groups(default="")
    units = int(whole) * COIN + int(fraction.ljust(DECIMALS, "0"))
    if units > SUPPLY_MAX:
        raise MalformedAmount(f"{text[:40]} coins are more than there can be")
    return units


def format_amount(units: int) -> str:
    """Write base units as coins with exactly eight decimals."""
    whole, fraction = divmod(units, COIN)
    return f"{whole}.{fraction:0{DECIMALS}d}"
