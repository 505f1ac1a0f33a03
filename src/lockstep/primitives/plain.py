"""Plain payments, read from a batch in columns [L2, L3, L8].

Nearly all payments spend one coin of one key, pay two outputs and have no memo. The encodings of
two such differ in eight fields and nowhere else, so a batch of them is not decoded object by
object: a pattern finds the fields of all. It is made from what the encoder writes for a specimen,
and so accepts nothing that is not canonical. What it does not accept is decoded.
"""

import re
from collections.abc import Sequence
from operator import add
from typing import Final

from msgspec import Struct

from lockstep.primitives.codec import array_head, encode
from lockstep.primitives.ids import OUTPOINT_BYTES
from lockstep.primitives.params import DUST, SUPPLY_MAX
from lockstep.primitives.transaction import (
    BATCH_HEAD,
    BATCH_TRANSACTIONS_MAX,
    PAIR_HEAD,
    TRANSACTION_VERSION,
    Policy,
    TransactionBody,
    TransactionOutput,
    Witness,
)

_AMOUNT_BYTES: Final = (2, 4, 8)
"""Bytes of an integer behind its head; what takes fewer is dust."""
_AMOUNTS: Final = (2**64 - 1, 2**64 - 2)
_HASH_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64


class PlainPayments(Struct, frozen=True, gc=False):
    """The payments of a batch, each a plain one, by columns.

    Attributes:
        bodies, witnesses: Their encodings.
        inputs: The one outpoint that each spends.
        outputs: What each pays.
        paid: The sum of that, in base units.
        keys, signatures: Of the one witness: a public key of 32 bytes, a signature of 64.
    """

    bodies: Sequence[bytes]
    witnesses: Sequence[bytes]
    inputs: Sequence[bytes]
    outputs: Sequence[tuple[TransactionOutput, ...]]
    paid: Sequence[int]
    keys: Sequence[bytes]
    signatures: Sequence[bytes]


def read_plain(batch: bytes) -> PlainPayments | None:
    """Read the bytes of a batch whose payments are all plain; None where they are not [B1].

    What is read is canonical, and keeps the rules for which no coin is needed [L4].
    """
    start = next((at for at in _STARTS if _PAYMENT.match(batch, at)), None)
    if start is None:
        return None
    rows = _PAYMENT.findall(batch, start)
    count = len(rows)
    bodies, inputs, first, payees, second, change, witnesses, keys, signatures = zip(
        *rows, strict=True
    )
    size_bytes = start + count * len(PAIR_HEAD) + sum(map(len, bodies)) + sum(map(len, witnesses))
    # Nothing stands between the payments, before the first or behind the last.
    if size_bytes != len(batch) or batch[:start] != BATCH_HEAD + array_head(count):
        return None
    paid_first, paid_second = _amounts(first), _amounts(second)
    paid = list(map(add, paid_first, paid_second))
    if count > BATCH_TRANSACTIONS_MAX or max(paid) > SUPPLY_MAX:
        return None
    if min(paid_first) < DUST or min(paid_second) < DUST:
        return None
    outputs = zip(
        map(TransactionOutput, paid_first, payees),
        map(TransactionOutput, paid_second, change),
        strict=True,
    )
    return PlainPayments(bodies, witnesses, inputs, list(outputs), paid, keys, signatures)


def _amounts(encoded: Sequence[bytes]) -> list[int]:
    number = int.from_bytes
    return [number(each[1:], "big") for each in encoded]


def _make_pattern() -> "re.Pattern[bytes]":
    """Return what matches a plain payment, with a group for body, witnesses and each field."""
    outpoint, payee, change = b"o" * OUTPOINT_BYTES, b"p" * _HASH_BYTES, b"c" * _HASH_BYTES
    key, signature = b"k" * _HASH_BYTES, b"s" * _SIGNATURE_BYTES
    body = TransactionBody(
        version=TRANSACTION_VERSION,
        inputs=(outpoint,),
        outputs=tuple(map(TransactionOutput, _AMOUNTS, (payee, change))),
        memo=b"",
    )
    witness = Witness(Policy(threshold=1, keys=(key,)), signers=1, signatures=(signature,))
    text = re.escape(PAIR_HEAD) + b"".join(
        b"(%b)" % re.escape(encode(part)) for part in (body, (witness,))
    )
    for field in (outpoint, payee, change, key, signature):
        text = text.replace(re.escape(field), b"(.{%d})" % len(field))
    for amount in _AMOUNTS:
        text = text.replace(re.escape(encode(amount)), b"(%b)" % b"|".join(_amount_patterns()))
    return re.compile(text, re.DOTALL)


def _amount_patterns() -> list[bytes]:
    """Return what matches an integer by its length; whose upper half is empty has a shorter one."""
    return [
        b"%b(?!%b).{%d}"
        % (re.escape(encode(2 ** (8 * size) - 1)[:1]), b"\\x00" * (size // 2), size)
        for size in _AMOUNT_BYTES
    ]


_PAYMENT: Final = _make_pattern()
_STARTS: Final = tuple(len(BATCH_HEAD + array_head(count)) for count in (1, BATCH_TRANSACTIONS_MAX))
"""Where the first payment of a small and of a large batch begins."""
