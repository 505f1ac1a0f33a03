"""What a load was asked for, checked before anything is started."""

from typing import Final

from msgspec import Struct, field

from lockstep.errors import Rejected
from lockstep.load.pacing import RATE_MAX, Profile
from lockstep.load.payments import Kind
from lockstep.load.search import FIRST_TPS

SECONDS_DEFAULT: Final = 30
UNDER_WAY_DEFAULT: Final = 60_000
RECOVERY_S: Final = 60


class WrongPlan(Rejected):
    """The options of a load contradict each other."""

    code = "load.options"
    hint = "see `lockstep load --help`"


class Plan(Struct, frozen=True):
    """What to measure.

    Attributes:
        seconds: How long each step lasts.
        rate: Payments a second of the only step.
        ramp: The same as (from, to).
        closed: Payments kept under way instead.
        is_saturating: Whether the highest rate that is kept is looked for, from `first` on.
        overload: After that, this many times that rate, then that rate again; 0 for none.
        mix: Shares of the kinds of payment.
        portion: Payments handed in together; 0 for 50 to 100 ms worth of them.
        is_binary: Whether payments are handed in as MessagePack; else as JSON-RPC.
        connections: HTTP clients in all.
        under_way_max: Payments that are sent and not final, at most.
    """

    seconds: int = SECONDS_DEFAULT
    rate: int = 0
    ramp: tuple[int, int] | None = None
    closed: int = 0
    is_saturating: bool = False
    first: int = FIRST_TPS
    overload: int = 0
    mix: dict[Kind, int] = field(default_factory=lambda: {Kind.ONE: 1})
    portion: int = 0
    is_binary: bool = True
    connections: int = 0
    under_way_max: int = UNDER_WAY_DEFAULT


def check_plan(plan: Plan) -> None:
    """Refuse a plan that names no load, or two.

    Raises:
        WrongPlan: The sentence says which.
    """
    ways = [bool(plan.rate), plan.ramp is not None, bool(plan.closed), plan.is_saturating]
    if sum(ways) != 1:
        raise WrongPlan("name one of --rate, --ramp, --closed and --saturate")
    if plan.overload and not (plan.is_saturating or plan.rate):
        raise WrongPlan("--overload needs --saturate, or the rate of saturation by --rate")


def make_profile(plan: Plan, rate: int = 0) -> Profile:
    """Return how payments come due in a step of a plan; `rate` goes before the plan's own."""
    seconds = float(plan.seconds)
    if plan.closed:
        return Profile(seconds=seconds, closed=plan.closed, portion=plan.portion)
    low, high = plan.ramp or (plan.rate, plan.rate)
    if rate:
        low = high = rate
    return Profile(low, high, seconds, portion=plan.portion)


def make_overload(plan: Plan, saturation: int) -> Profile:
    """Return how payments come due in an overload, and in the recovery after it."""
    rate = min(RATE_MAX, plan.overload * saturation)
    return Profile(
        rate,
        rate,
        float(plan.seconds),
        portion=plan.portion,
        after_tps=saturation,
        after_s=float(RECOVERY_S),
    )
