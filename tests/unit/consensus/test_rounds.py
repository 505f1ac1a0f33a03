"""The phase table: every cell decided, and nothing moves where it must not [T1]."""

import pytest

from lockstep.consensus.rounds import (
    LATE,
    TRANSITIONS,
    Phase,
    RoundInput,
    RoundState,
    SendPrevote,
    Trigger,
    advance,
)


def test_table_and_late_cells_cover_the_square() -> None:
    assert set(TRANSITIONS) | LATE == {(p, t) for p in Phase for t in Trigger}
    assert not set(TRANSITIONS) & LATE


@pytest.mark.parametrize(("phase", "trigger"), sorted(LATE))
def test_late_cells_change_nothing(phase: Phase, trigger: Trigger) -> None:
    state = RoundState(height=1, round=2, phase=phase)
    assert advance(state, RoundInput(trigger, 2, b"v", 1)) == (state, ())


@pytest.mark.parametrize(
    ("locked_value", "locked_round", "prevoted"),
    [
        (None, -1, b"v"),
        (b"v", 3, b"v"),
        (b"w", 1, b"v"),  # The polka of round 1 is as new as the lock: line 29 lets go.
        (b"w", 2, None),
    ],
)
def test_lock_yields_only_to_a_polka_that_is_not_older(
    locked_value: bytes | None, locked_round: int, prevoted: bytes | None
) -> None:
    state = RoundState(
        height=1,
        round=4,
        phase=Phase.PROPOSE,
        locked_value=locked_value,
        locked_round=locked_round,
        valid_value=locked_value,
        valid_round=locked_round,
    )
    _, outputs = advance(state, RoundInput(Trigger.REPROPOSAL_AND_POLKA, 4, b"v", 1))
    assert outputs == (SendPrevote(4, prevoted),)


def test_fresh_value_does_not_open_a_lock() -> None:
    state = RoundState(height=1, round=4, phase=Phase.PROPOSE, locked_value=b"w", locked_round=0)
    _, outputs = advance(state, RoundInput(Trigger.PROPOSAL, 4, b"v"))
    assert outputs == (SendPrevote(4, None),)
