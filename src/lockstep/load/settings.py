"""What the load process is told: settings first, then commands, one line of JSON each."""

from typing import Final

from msgspec import Struct, field

from lockstep.load.pacing import Profile
from lockstep.load.payments import Kind
from lockstep.load.station import StationSettings

UNDER_WAY_MAX: Final = 8_000
CONNECTIONS: Final = 1


class LoadSettings(Struct, frozen=True):
    """The first line the load reads.

    Attributes:
        stations: The nodes.
        seeds: Seeds of the keys that hold its coins, in hex; change comes back to the first.
        prefix: That of the network's addresses.
        payee_lock, chain_id: In hex.
        mix: Shares of the kinds of payment.
        pairs: Rivals sent besides, evenly over the time.
        connections: HTTP clients a node.
        under_way_max: Payments that are sent and not final, at most.
        is_persistent: Whether what is refused or lost is sent again elsewhere.
        is_binary: Whether payments are handed in as MessagePack; else as JSON-RPC.
        is_fanning_out: Whether the coins must be made first; else they are there as they are.
    """

    stations: list[StationSettings]
    seeds: list[str]
    prefix: str
    payee_lock: str
    chain_id: str
    mix: dict[Kind, int] = field(default_factory=lambda: {Kind.ONE: 1})
    pairs: int = 0
    connections: int = CONNECTIONS
    under_way_max: int = UNDER_WAY_MAX
    is_persistent: bool = True
    is_binary: bool = True
    is_fanning_out: bool = False


class Command(Struct, frozen=True):
    """What the conductor wants.

    The names are prepare, start, step, conclude, lose_quorum, regain_quorum, drain, report.

    Attributes:
        profile: How payments come due, for start and step.
        payments: How many to sign beforehand, for prepare.
        rate: How many a second there will be, for prepare.
    """

    name: str
    profile: Profile = Profile()
    payments: int = 0
    rate: int = 0
