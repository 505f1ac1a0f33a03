"""How claims are judged: by the rule, by equal work, and without mercy."""

import signal
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from lockstep.bench.claims import verdicts
from lockstep.bench.claims.contest import (
    NAIVE,
    OURS,
    Claim,
    Clock,
    Contest,
    Round,
    Rule,
    Sample,
    judge,
)
from lockstep.bench.claims.verdicts import CLAIMS, put_to_test
from lockstep.bench.course import watched
from unit.bench.test_bench import run_command

CLAIMED = {
    "storage": 1.4,
    "utxo": 1.6,
    "consensus": 1.5,
    "pool": 1.8,
    "connections": 1.7,
    "memory": 0.01,
    "processor": 2.0,
}
"""What the predecessor claimed: the numbers are not ours to change."""


def sample(seconds: float, outcome: object = "done", value: float | None = None) -> Sample:
    """Return 1,000 items in so much CPU time, and ten times as much time that passed."""
    return Sample(1000, seconds, 10 * seconds, outcome, value)


def contest(naive: Callable[[], Sample], ours: Callable[[], Sample]) -> Contest:
    return Contest(naive=naive, ours=ours)


def claim(
    made: Contest | None = None,
    *,
    name: str = "made up",
    rule: Rule = Rule.TIMES,
    claimed: float = 1.5,
    why_missed: str = "",
) -> Claim:
    return Claim(
        name=name,
        claimed=claimed,
        unit="items a second",
        what="nothing",
        why_missed=why_missed,
        size=1,
        prepare=lambda _: made or contest(lambda: sample(2), lambda: sample(1)),
        clock=Clock.CPU,
        rule=rule,
    )


def rounds(naive: Sequence[float], ours: Sequence[float]) -> list[Round]:
    return [
        {NAIVE: sample(slow), OURS: sample(quick)} for slow, quick in zip(naive, ours, strict=True)
    ]


def test_the_seven_claims_are_those_that_were_made() -> None:
    assert {each.name: each.claimed for each in CLAIMS} == CLAIMED
    assert [each.name for each in CLAIMS if each.rule is Rule.SHARE] == ["memory"]
    waiting = [each.name for each in CLAIMS if each.clock is Clock.WALL]
    assert waiting == ["storage", "consensus", "processor"]


def test_the_median_of_paired_ratios_decides() -> None:
    # A neighbour who doubles the time of both of a pair changes nothing.
    row = judge(claim(), rounds([3, 6, 3, 30, 3], [2, 4, 2, 2, 2]))
    assert (row.measured, row.reached, row.same_work, row.samples) == (1.5, True, True, 5)
    assert row.spread[0] == 1.5 < row.spread[1]
    assert (row.naive, row.ours, row.why) == (333.3, 500.0, "")


@pytest.mark.parametrize(
    ("ours", "reached"), [(1.0, True), (1.99, True), (2.01, False), (3.0, False), (300.0, False)]
)
def test_ours_that_is_crippled_is_reported_as_missed(ours: float, reached: bool) -> None:
    row = judge(claim(why_missed="it limps"), rounds([3] * 5, [ours] * 5))
    assert (row.reached, row.why) == (reached, "" if reached else "it limps")
    assert row.measured == pytest.approx(3 / ours, rel=0.001)
    unexplained = judge(claim(), rounds([3], [ours]))
    assert unexplained.why == ("" if reached else "the reason is not known yet")


@pytest.mark.parametrize(("share", "reached"), [(0.0, True), (0.01, True), (0.0101, False)])
def test_a_claim_of_stability_is_kept_from_below(share: float, reached: bool) -> None:
    stable = claim(rule=Rule.SHARE, claimed=0.01)
    row = judge(stable, [{NAIVE: sample(1, value=9.0), OURS: sample(1, value=share)}] * 3)
    assert (row.reached, row.measured, row.naive) == (reached, share, 9.0)


def test_variants_that_did_not_do_the_same_work_show_nothing() -> None:
    played: Round = {NAIVE: sample(9), OURS: sample(1, outcome="something else")}
    row = judge(claim(), [*rounds([9], [1]), played])
    assert (row.same_work, row.reached) == (False, False)
    assert "same outcome" in row.why
    report = put_to_test(
        [claim(contest(lambda: played[NAIVE], lambda: played[OURS]))], repetitions=2
    )
    assert not report.is_good


def test_a_missed_claim_is_printed_as_missed_and_is_no_fault() -> None:
    slow = contest(lambda: sample(1), lambda: sample(2))
    report = put_to_test([claim(), claim(slow, name="lame", why_missed="it limps")], repetitions=2)
    assert report.is_good
    assert [row.reached for row in report.content["claims"]] == [True, False]
    assert report.content["reached"] == 1
    text = "\n".join(report.lines)
    assert "MISSED" in text
    assert "why: it limps" in text
    assert list(report.figures) == ["made up.naive", "made up.ours", "lame.naive", "lame.ours"]
    assert report.figures["lame.ours"].cpu == 2000


def test_a_run_that_is_cut_short_has_the_claims_it_came_to() -> None:
    closed: list[str] = []

    def pressed() -> Sample:
        signal.raise_signal(signal.SIGINT)
        return sample(1)

    def make(name: str, ours: Callable[[], Sample]) -> Claim:
        made = Contest(lambda: sample(2), ours, close=lambda: closed.append(name))
        return claim(made, name=name)

    claims = [make("first", lambda: sample(1)), make("second", pressed), make("third", pressed)]
    with watched(lambda _done, _total: None) as course:
        # The warm-up presses once, so that the first sample would interrupt.
        with pytest.raises(KeyboardInterrupt):
            put_to_test(claims, repetitions=3)
        assert list(course.noted) == ["first.naive", "first.ours"]
    assert closed == ["first", "second"]
    with watched(lambda _done, _total: None) as course:
        course.is_cut_short = True
        report = put_to_test([claims[0], claims[1]], repetitions=3)
    assert [row.samples for row in report.content["claims"]] == [1]
    assert report.content["left_out"] == ["second"]


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_claim(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "CLAIMS", tuple(claim(name=name) for name in CLAIMED))
    code, text = run_command(capsys, "claims", "--json", "--repetitions", "2")
    content: dict[str, Any] = msgspec.json.decode(text.splitlines()[-1])
    assert code == 0
    assert [row["claim"] for row in content["claims"]] == list(CLAIMED)
    fields = {"claim", "claimed", "measured", "spread", "reached", "naive", "ours", "unit", "what"}
    assert all(fields <= set(row) for row in content["claims"])
    assert content["disk_sync_us"] >= 0
    code, text = run_command(capsys, "claims", "--repetitions", "1")
    assert code == 0
    assert text.count("reached") == len(CLAIMED)
