"""Addresses: bech32m text for (version, lock), one prefix a network [L7]."""

from typing import Final

import bech32m

from lockstep.errors import Rejected

ADDRESS_VERSION: Final = 1
_LOCK_BYTES: Final = 32


class MalformedAddress(Rejected):
    """The text is not an address: a wrong character, checksum, version or length."""

    code = "address.malformed"
    hint = "check the address for a typing error"


class ForeignAddress(Rejected):
    """The address belongs to another network."""

    code = "address.network"
    hint = "ask the payee for an address of this network"


def format_address(prefix: str, lock: bytes) -> str:
    """Write the 32-byte `lock` as an address of the network with this prefix [L7]."""
    return str(bech32m.encode(prefix, ADDRESS_VERSION, lock))


def parse_address(prefix: str, text: str) -> bytes:
    """Read an address and return its 32-byte lock [L7].

    Raises:
        ForeignAddress: If the prefix is another network's.
        MalformedAddress: If anything else is wrong with the text.
    """
    found = text.lower().rpartition("1")[0]
    if found != prefix and found.isalpha():
        raise ForeignAddress(f"the address begins with {found!r}, this network's with {prefix!r}")
    try:
        decoded = bech32m.decode(prefix, text)
    except (bech32m.DecodeError, bech32m.HrpDoesNotMatch) as fault:
        raise MalformedAddress("the text is not a valid bech32m address") from fault
    if decoded.witver != ADDRESS_VERSION:
        raise MalformedAddress("the address has an unknown version")
    lock = bytes(decoded.witprog)
    if len(lock) != _LOCK_BYTES:
        raise MalformedAddress(f"the address holds {len(lock)} bytes where {_LOCK_BYTES} are due")
    return lock
