"""Who is in the set of an epoch, as a function of the chain [M1, M4].

Until there is a registry the function gives the genesis set for every epoch; whoever asks does not
notice when it begins to read the chain.
"""

from lockstep.errors import Misuse
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis


def committee_of_epoch(genesis: Genesis, epoch: int) -> Committee:
    """Return Set(epoch), computed from the chain up to the block that closed the epoch before [M1].

    Raises:
        Misuse: If the epoch is negative.
    """
    if epoch < 0:
        raise Misuse("epochs begin at 0")
    return genesis.committee


def next_set_hash(genesis: Genesis, epoch: int) -> bytes:
    """Return the hash of Set(epoch + 1), which the closing block of `epoch` carries [T2]."""
    return committee_of_epoch(genesis, epoch + 1).set_hash
