"""The driver of one height: the paper's rules in every order of arrival, and restarts [T1, D2].

Four members of weight 1; "b" proposes in round 0, then "c", "d", "a". Outputs are compared whole.
"""

import copy

import pytest

from lockstep.consensus.driver import Driver, EnteredRound
from lockstep.consensus.proposals import (
    PROPOSALS_PER_ROUND_MAX,
    ROUNDS_AHEAD_MAX,
    InvalidValidRound,
    WrongProposer,
)
from lockstep.consensus.rounds import (
    Decide,
    GetValue,
    Phase,
    ScheduleTimeout,
    SendPrecommit,
    SendPrevote,
    SendProposal,
    TimeoutKind,
)
from lockstep.consensus.snapshot import DriverSnapshot, SnapshotContradiction
from lockstep.consensus.votekeeper import Equivocated
from lockstep.errors import Misuse
from lockstep.primitives.block import Ballot, BallotKind
from unit.consensus.cast import PRECOMMIT, PREVOTE, FixedWeights, make_ballot, make_proposal

MEMBERS = [b"a", b"b", b"c", b"d"]
WEIGHTS = FixedWeights(dict.fromkeys(MEMBERS, 1))
PROPOSE_0 = ScheduleTimeout(TimeoutKind.PROPOSE, 0)


def proposer(round_number: int) -> bytes:
    return MEMBERS[(round_number + 1) % 4]


def make_driver(own: bytes | None = b"a") -> Driver:
    return Driver(height=1, weights=WEIGHTS, own=own, proposer=proposer)


def restore(snapshot: DriverSnapshot, own: bytes | None = b"a") -> Driver:
    return Driver.restore(height=1, weights=WEIGHTS, own=own, proposer=proposer, snapshot=snapshot)


def started(own: bytes | None = b"a") -> Driver:
    driver = make_driver(own)
    driver.start()
    return driver


def propose(
    driver: Driver,
    round_number: int,
    value: bytes,
    *,
    valid_round: int = -1,
    valid: bool = True,
) -> list[object]:
    proposal = make_proposal(round_number, value, proposer(round_number), valid_round=valid_round)
    return list(driver.on_proposal(proposal, valid=valid))


def vote(
    driver: Driver, kind: BallotKind, round_number: int, value: bytes | None, voters: str
) -> list[object]:
    return [
        output
        for voter in voters
        for output in driver.on_vote(make_ballot(kind, round_number, value, voter.encode()))
    ]


def lock(driver: Driver, value: bytes, round_number: int = 0) -> None:
    """Bring a started driver to lock `value`, and on to the next round."""
    propose(driver, round_number, value)
    vote(driver, PREVOTE, round_number, value, "bcd")
    assert driver.state.locked_value == value
    vote(driver, PRECOMMIT, round_number, None, "bcd")
    driver.on_timeout(TimeoutKind.PRECOMMIT, round_number)


def test_a_height_goes_by_in_one_round() -> None:
    driver = make_driver()
    assert driver.start() == [EnteredRound(0), PROPOSE_0]
    assert propose(driver, 0, b"v") == [SendPrevote(0, b"v")]
    assert vote(driver, PREVOTE, 0, b"v", "ab") == []
    assert vote(driver, PREVOTE, 0, b"v", "c") == [SendPrecommit(0, b"v")]
    assert vote(driver, PRECOMMIT, 0, b"v", "abc") == [Decide(0, b"v")]
    assert driver.decision == Decide(0, b"v")
    # Late precommits still count: the certificate may name more members [N3].
    assert vote(driver, PRECOMMIT, 0, b"v", "d") == []
    assert len(driver.votes.votes_for(0, PRECOMMIT, b"v")) == 4


def test_proposer_asks_once_and_proposes_once() -> None:
    driver = make_driver(b"b")
    assert driver.start() == [EnteredRound(0), GetValue(0), PROPOSE_0]
    assert driver.on_value(1, b"v") == []
    assert driver.on_value(0, b"v") == [SendProposal(0, b"v", -1)]
    assert driver.on_value(0, b"w") == []
    assert propose(driver, 0, b"v") == [SendPrevote(0, b"v")]


def test_value_that_comes_after_the_time_out_is_not_proposed() -> None:
    driver = started(b"b")
    assert driver.on_timeout(TimeoutKind.PROPOSE, 0) == [SendPrevote(0, None)]
    assert driver.on_value(0, b"v") == []


def test_follower_signs_nothing_and_decides() -> None:
    driver = make_driver(None)
    assert driver.start() == [EnteredRound(0), PROPOSE_0]
    assert driver.on_timeout(TimeoutKind.PROPOSE, 0) == []
    assert propose(driver, 0, b"v") == []
    assert vote(driver, PREVOTE, 0, b"v", "bcd") == []
    assert (
        vote(driver, PRECOMMIT, 0, b"v", "bcd")
        == [
            ScheduleTimeout(TimeoutKind.PRECOMMIT, 0),
            Decide(0, b"v"),
        ][1:]
    )


def test_invalid_proposal_is_prevoted_nil() -> None:
    driver = started()
    assert propose(driver, 0, b"v", valid=False) == [SendPrevote(0, None)]
    assert vote(driver, PREVOTE, 0, b"v", "bcd") == [ScheduleTimeout(TimeoutKind.PREVOTE, 0)]
    assert driver.on_timeout(TimeoutKind.PREVOTE, 0) == [SendPrecommit(0, None)]


def test_proposal_after_the_polka_and_after_the_time_out_sets_the_valid_value() -> None:
    driver = started()
    driver.on_timeout(TimeoutKind.PROPOSE, 0)
    vote(driver, PREVOTE, 0, b"v", "bcd")
    driver.on_timeout(TimeoutKind.PREVOTE, 0)
    assert propose(driver, 0, b"v") == []
    assert (driver.state.valid_value, driver.state.valid_round) == (b"v", 0)
    assert driver.state.locked_value is None


def test_proposal_after_everything_decides_in_a_past_round() -> None:
    driver = started()
    vote(driver, PRECOMMIT, 0, b"v", "bc")
    assert vote(driver, PRECOMMIT, 0, b"v", "d") == [ScheduleTimeout(TimeoutKind.PRECOMMIT, 0)]
    driver.on_timeout(TimeoutKind.PRECOMMIT, 0)
    assert driver.state.round == 1
    assert propose(driver, 0, b"v") == [Decide(0, b"v")]


def test_commit_certificate_decides_whatever_was_seen_before() -> None:
    driver = started()
    propose(driver, 0, b"v")
    vote(driver, PRECOMMIT, 0, None, "d")
    vote(driver, PRECOMMIT, 0, b"w", "d")
    certificate = [make_ballot(PRECOMMIT, 0, b"v", voter) for voter in (b"b", b"c", b"d")]
    assert driver.on_certificate(certificate) == [Decide(0, b"v")]


def test_polka_of_an_equivocator_serves_a_reproposal() -> None:
    driver = started()
    vote(driver, PREVOTE, 0, None, "d")
    vote(driver, PREVOTE, 0, b"v", "bc")
    assert vote(driver, PREVOTE, 1, None, "bc") == [
        EnteredRound(1),
        ScheduleTimeout(TimeoutKind.PROPOSE, 1),
    ]
    assert propose(driver, 1, b"v", valid_round=0) == []
    report, prevote = vote(driver, PREVOTE, 0, b"v", "d")
    assert isinstance(report, Equivocated)
    assert prevote == SendPrevote(1, b"v")


def test_locked_member_prevotes_nil_for_another_value_and_proposes_its_own() -> None:
    driver = started(b"d")
    lock(driver, b"v")
    assert propose(driver, 1, b"w") == [SendPrevote(1, None)]
    vote(driver, PRECOMMIT, 1, None, "abc")
    assert driver.on_timeout(TimeoutKind.PRECOMMIT, 1) == [
        EnteredRound(2),
        SendProposal(2, b"v", 0),
    ]


def test_newer_polka_opens_the_lock() -> None:
    driver = started()
    lock(driver, b"v")
    driver.on_timeout(TimeoutKind.PROPOSE, 1)
    vote(driver, PREVOTE, 1, b"w", "bcd")
    vote(driver, PRECOMMIT, 1, None, "bcd")
    driver.on_timeout(TimeoutKind.PRECOMMIT, 1)
    assert propose(driver, 2, b"w", valid_round=1) == [SendPrevote(2, b"w")]
    assert vote(driver, PREVOTE, 2, b"w", "bcd") == [SendPrecommit(2, b"w")]
    assert driver.state.locked_value == b"w"


def test_stale_time_outs_change_nothing() -> None:
    driver = started()
    lock(driver, b"v")
    for kind in TimeoutKind:
        assert driver.on_timeout(kind, 0) == []
    assert driver.on_timeout(TimeoutKind.PREVOTE, 1) == []


def test_third_of_the_weight_ahead_is_followed_and_less_is_not() -> None:
    driver = started()
    assert vote(driver, PREVOTE, 3, b"v", "b") == []
    assert vote(driver, PRECOMMIT, 3, None, "b") == []
    assert vote(driver, PREVOTE, 3, b"v", "c") == [
        EnteredRound(3),
        GetValue(3),
        ScheduleTimeout(TimeoutKind.PROPOSE, 3),
    ]


# Before round 0 starts: a member that still waits for FREEZEs [T6].


def test_waiting_member_is_started_by_a_valid_proposal_only() -> None:
    driver = make_driver()
    assert propose(driver, 0, b"w", valid=False) == []
    assert vote(driver, PREVOTE, 0, b"v", "b") == []
    fresh = make_driver()
    assert propose(fresh, 0, b"v") == [EnteredRound(0), PROPOSE_0, SendPrevote(0, b"v")]
    assert fresh.start() == []
    assert driver.start() == [EnteredRound(0), PROPOSE_0, SendPrevote(0, None)]


def test_waiting_member_follows_a_third_and_decides() -> None:
    driver = make_driver()
    assert vote(driver, PREVOTE, 0, b"v", "bc") == [EnteredRound(0), PROPOSE_0]
    waiting = make_driver()
    vote(waiting, PREVOTE, 5, b"v", "bc")
    assert waiting.state.round == 5
    decided = make_driver()
    certificate = [make_ballot(PRECOMMIT, 0, b"v", voter) for voter in (b"b", b"c", b"d")]
    decided.on_certificate(certificate)
    assert propose(decided, 0, b"v")[-1] == Decide(0, b"v")


# Proposers that say two things.


def test_second_word_of_a_proposer_is_reported_once_and_kept_for_a_quorum() -> None:
    driver = started()
    assert propose(driver, 0, b"v") == [SendPrevote(0, b"v")]
    first, second = (make_proposal(0, value, b"b") for value in (b"v", b"w"))
    assert driver.on_proposal(second, valid=True) == [Equivocated(first, second)]
    assert driver.on_proposal(second, valid=True) == []
    assert vote(driver, PREVOTE, 0, b"w", "bcd") == [SendPrecommit(0, b"w")]
    assert vote(driver, PRECOMMIT, 0, b"w", "bcd") == [Decide(0, b"w")]


def test_third_word_of_a_proposer_counts_only_where_a_quorum_demands_it() -> None:
    driver = started()
    for value in (b"v", b"w", b"x", b"y"):
        propose(driver, 0, value)
    assert len(driver.proposals_in(0)) == PROPOSALS_PER_ROUND_MAX
    vote(driver, PRECOMMIT, 0, b"x", "bcd")
    assert propose(driver, 0, b"x") == [Decide(0, b"x")]


def test_second_valid_round_of_one_value_is_an_equivocation_too() -> None:
    driver = started()
    vote(driver, PREVOTE, 1, None, "bc")
    assert propose(driver, 1, b"v") == [SendPrevote(1, b"v")]
    (report,) = propose(driver, 1, b"v", valid_round=0)
    assert isinstance(report, Equivocated)


def test_proposals_ahead_are_bounded_and_the_newest_stay() -> None:
    driver = started()
    rounds = range(4, 4 + 4 * 20, 4)
    for round_number in rounds:
        propose(driver, round_number, b"v")
    held = [r for r in rounds if driver.proposals_in(r)]
    assert held == list(rounds)[-ROUNDS_AHEAD_MAX:]


def test_words_no_honest_proposer_says_are_refused() -> None:
    driver = started()
    before = copy.deepcopy(driver).snapshot()
    with pytest.raises(WrongProposer):
        driver.on_proposal(make_proposal(0, b"v", b"c"), valid=True)
    with pytest.raises(InvalidValidRound):
        propose(driver, 0, b"v", valid_round=0)
    with pytest.raises(Misuse):
        driver.on_vote(make_ballot(PREVOTE, 0, b"v", b"b", height=2))
    assert driver.snapshot() == before
    assert driver.proposals_in(0) == ()


# Restarts.


def test_restart_resumes_where_it_signed_and_asks_for_nothing_again() -> None:
    driver = started(b"b")
    driver.on_value(0, b"v")
    resumed = restore(driver.snapshot(), b"b")
    assert resumed.start() == [EnteredRound(0), PROPOSE_0]
    assert resumed.on_value(0, b"w") == []
    assert propose(resumed, 0, b"v") == [SendPrevote(0, b"v")]

    resumed = restore(resumed.snapshot(), b"b")
    assert resumed.start() == [EnteredRound(0)]
    assert propose(resumed, 0, b"v") == []
    assert vote(resumed, PREVOTE, 0, b"v", "bcd") == [SendPrecommit(0, b"v")]

    resumed = restore(resumed.snapshot(), b"b")
    assert resumed.start() == [EnteredRound(0)]
    assert (resumed.state.phase, resumed.state.locked_value) == (Phase.PRECOMMIT, b"v")
    propose(resumed, 0, b"v")
    assert vote(resumed, PRECOMMIT, 0, b"v", "bcd") == [Decide(0, b"v")]


def test_restart_before_signing_enters_the_round_anew_however_often() -> None:
    driver = started()
    lock(driver, b"v")
    snapshot = driver.snapshot()
    assert (snapshot.round, snapshot.prevote) == (1, None)
    for _ in range(3):
        snapshot = restore(snapshot).snapshot()
    resumed = restore(snapshot)
    assert resumed.start() == [EnteredRound(1), ScheduleTimeout(TimeoutKind.PROPOSE, 1)]
    assert propose(resumed, 1, b"w") == [SendPrevote(1, None)]


@pytest.mark.parametrize(
    "snapshot",
    [
        DriverSnapshot(round=2, prevote=SendPrevote(1, None)),
        DriverSnapshot(round=2, precommit=SendPrecommit(2, b"v")),
        DriverSnapshot(round=2, locked_value=b"v", locked_round=1),
        DriverSnapshot(round=0, valid_value=b"v", valid_round=1),
    ],
    ids=["other round", "no lock", "no valid value", "valid ahead"],
)
def test_contradictory_snapshots_stop_the_node(snapshot: DriverSnapshot) -> None:
    with pytest.raises(SnapshotContradiction):
        restore(snapshot)


def test_order_of_arrival_means_nothing() -> None:
    messages: list[Ballot | None] = [
        None,
        *(make_ballot(kind, 0, b"v", v) for kind in BallotKind for v in (b"b", b"c", b"d")),
    ]
    for turn in range(len(messages)):
        driver = make_driver()
        outputs: list[object] = []
        for message in messages[turn:] + messages[:turn]:
            if message is None:
                outputs += propose(driver, 0, b"v")
            else:
                outputs += driver.on_vote(message)
        assert outputs[-1] == Decide(0, b"v")
