"""Disks set back to an old backup, and lost ones: no key contradicts itself [D3].

A seed that fails here is replayed by
`lockstep sim --seed N --nodes 4 --seconds 20 --payments 50 --backups 2 --wipes 0`.
"""

import pytest

from lockstep.replica import amnesia
from lockstep.replica.core import Core
from lockstep.sim.outcome import Outcome, Verdict
from lockstep.sim.swarm import run_seed

SEEDS = range(100)


def run_with_backups(seed: int) -> Outcome:
    overrides = {"payments": 50, "backups": 2, "wipes": 0, "real_signatures": False}
    return run_seed(seed, nodes=4, seconds=20, overrides=overrides)


@pytest.mark.slow
def test_no_key_signs_twice_after_an_old_backup_is_put_back() -> None:
    outcomes = [run_with_backups(seed) for seed in SEEDS]
    failed = [(o.seed, o.verdict, o.sentence) for o in outcomes if o.verdict is not Verdict.PASS]
    assert failed == []
    set_back = [outcome for outcome in outcomes if outcome.counters["backups"]]
    found = [outcome for outcome in outcomes if outcome.counters["alarms"]]
    assert len(set_back) >= 50
    assert len(found) >= 30, "too few of the backups were older than a word of their key"


@pytest.mark.slow
def test_without_the_question_an_old_backup_signs_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the same worlds, and nodes that sign as soon as they have started."""

    def begin(core: Core) -> None:
        core.silence.is_lifted = core.is_member

    monkeypatch.setattr(amnesia, "begin", begin)
    monkeypatch.setattr(amnesia, "note", lambda *_: None)
    verdicts = [run_with_backups(seed) for seed in range(8)]
    sentences = [o.sentence for o in verdicts if o.verdict is Verdict.DIVERGED]
    assert sentences, "no world needed the rule"
    assert any("one " in sentence for sentence in sentences)
