"""Bugs planted into Tendermint [T1, T10]."""

from typing import Any

from msgspec.structs import replace

from lockstep.consensus import rounds
from lockstep.consensus.rounds import NO_ROUND, Action, GetValue, ScheduleTimeout, TimeoutKind
from lockstep.consensus.votekeeper import VoteKeeper
from lockstep.replica import agreement, candidates, exchange, syncing
from planted.patching import Patch

_LOCK_RULES = (Action.PREVOTE_UNLESS_LOCKED, Action.PREVOTE_IF_UNLOCKED_SINCE)


def no_lock_rule(patch: Patch) -> None:
    """Prevote for any value whatever one is locked on [lines 23 and 29]."""
    act = rounds._act

    def unlocked(state: Any, action: Action, event: Any) -> Any:
        if action not in _LOCK_RULES:
            return act(state, action, event)
        _, outputs = act(replace(state, locked_value=None, locked_round=NO_ROUND), action, event)
        return state, outputs

    patch.setattr(rounds, "_act", unlocked)


def valid_round_ignored(patch: Patch) -> None:
    """Propose something new though a value is known to be valid [line 16]."""
    patch.setattr(
        rounds,
        "_propose_or_ask",
        lambda state: (
            state,
            (GetValue(state.round), ScheduleTimeout(TimeoutKind.PROPOSE, state.round)),
        ),
    )


def nil_counted_as_value(patch: Patch) -> None:
    """Add ballots for anything up to the quorum of one value [lines 36 and 49]."""
    patch.setattr(
        VoteKeeper,
        "has_quorum",
        lambda keeper, round_number, kind, value: keeper.has_any_quorum(round_number, kind),
    )


def nothing_repeated(patch: Patch) -> None:
    """Say everything once [T10]."""
    patch.setattr(exchange, "on_resend_timer", lambda *_: None)


def nothing_fetched(patch: Patch) -> None:
    """Never ask for what is missing [F2, B3]."""
    patch.setattr(exchange, "on_fetch_timer", lambda *_: None)


def nobody_catches_up(patch: Patch) -> None:
    """Never ask for the blocks of the others [T9]."""
    patch.setattr(syncing, "request_blocks", lambda *_: None)


def rotation_over_all_heights(patch: Patch) -> None:
    """Let the turn move at every height, whatever its kind [T1]."""
    patch.setattr(agreement, "kind_index", lambda height, _: height)
    patch.setattr(candidates, "kind_index", lambda height, _: height)
