"""Judging that stops at signatures, so that a shell has them judged where and as it likes.

A judging is a generator. It does its own work in small steps; at the end of each it yields checks,
perhaps none, and goes on with their verdicts. A shell that judges on its loop looks at its sockets
in between; one that judges in a thread runs it to the end at once.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Final, TypeVar

from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Misuse

STEP_CHECKS: Final = 128
"""Checks yielded at a time: two milliseconds for a vectorised verifier, and no lane of it empty."""
STEP_TRANSACTIONS: Final = 200
"""Transactions looked at between two yields: a millisecond; two such steps are a full batch."""

T = TypeVar("T")
Judging = Generator[Sequence[SignatureCheck], Sequence[bool], T]
"""Yields checks and is sent one verdict for each, in order; returns what came out."""


def judge_at_once(judging: Judging[T], verifier: Verifier) -> T:
    """Run a judging to its end and return what came out."""
    try:
        checks = next(judging)
        while True:
            checks = judging.send(verifier.verify_many(checks) if checks else ())
    except StopIteration as end:
        result: T = end.value
        return result


class SignatureGroup:
    """The signature checks of one judging and their verdicts; owned by the judging."""

    def __init__(self) -> None:
        """Start with no check."""
        self._checks: list[SignatureCheck] = []
        self._verdicts: list[bool] = []

    def __len__(self) -> int:
        """Return the number of checks taken in."""
        return len(self._checks)

    @property
    def is_full(self) -> bool:
        """Tell whether there are checks for a full step."""
        return len(self._checks) - len(self._verdicts) >= STEP_CHECKS

    def add(self, checks: Iterable[SignatureCheck]) -> slice:
        """Take checks in and return the claim to ask `holds` with."""
        start = len(self._checks)
        self._checks.extend(checks)
        return slice(start, len(self._checks))

    def judge_full(self) -> Judging[None]:
        """Have full steps judged, and leave the rest until more checks have come."""
        while self.is_full:
            yield from self._judge_step()

    def judge_rest(self) -> Judging[None]:
        """Have all judged that is not yet."""
        while len(self._verdicts) < len(self._checks):
            yield from self._judge_step()

    def _judge_step(self) -> Judging[None]:
        done = len(self._verdicts)
        checks = self._checks[done : done + STEP_CHECKS]
        verdicts = yield checks
        if len(verdicts) != len(checks):
            raise Misuse(f"{len(verdicts)} verdicts on {len(checks)} checks")
        self._verdicts += verdicts

    def holds(self, claim: slice) -> bool:
        """Tell whether every check of the claim held; only after it was judged.

        Raises:
            Misuse: If a check of the claim was not judged yet.
        """
        if len(self._verdicts) < claim.stop:
            raise Misuse("a check was asked about before it was judged")
        return all(self._verdicts[claim])
