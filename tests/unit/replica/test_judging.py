"""A judging stops at signatures, in small steps, and comes to the same however it is driven."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.keys import SignatureCheck
from lockstep.errors import Misuse
from lockstep.replica.judging import STEP_CHECKS, Judging, SignatureGroup, judge_at_once


class EvenVerifier:
    """Finds a check good whose message is an even number."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        self.sizes.append(len(checks))
        return [int.from_bytes(message) % 2 == 0 for _, message, _ in checks]


def judging_of(messages: list[list[int]]) -> Judging[list[bool]]:
    group = SignatureGroup()
    claims: list[slice] = []
    for numbers in messages:
        claims.append(group.add([(b"", number.to_bytes(4), b"") for number in numbers]))
        yield from group.judge_full()
    yield from group.judge_rest()
    return [group.holds(claim) for claim in claims]


@given(st.lists(st.lists(st.sampled_from([2, 2, 2, 2, 3]), max_size=150), max_size=12))
def test_a_message_holds_when_all_its_checks_do(messages: list[list[int]]) -> None:
    """[M2]."""
    verifier = EvenVerifier()
    held = judge_at_once(judging_of(messages), verifier)
    assert held == [all(number % 2 == 0 for number in numbers) for numbers in messages]
    total = sum(map(len, messages))
    # Full steps but for the last: no lane of a vectorised verifier is left empty before the end.
    full, rest = divmod(total, STEP_CHECKS)
    assert verifier.sizes == [STEP_CHECKS] * full + [rest] * (rest > 0)


def test_verdicts_are_as_many_as_checks() -> None:
    judging = judging_of([[2, 2]])
    next(judging)
    with pytest.raises(Misuse):
        judging.send([True])


def test_a_claim_is_no_verdict_before_it_was_judged() -> None:
    """[M2] Forgetting to judge must not pass as good."""
    group = SignatureGroup()
    claim = group.add([(b"", b"", b"")])
    with pytest.raises(Misuse):
        group.holds(claim)
