"""`lockstep sim`: what it answers, and that a seed that fails makes the command fail."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lockstep.cli import checkout
from lockstep.cli.checkout import import_from_tests
from lockstep.cli.failure import WrongUsage
from lockstep.cli.main import main
from lockstep.cli.progress import Progress
from lockstep.cli.sim_options import NUMBERS, Asked
from lockstep.consensus.finality import TransactionFinality
from lockstep.sim.options import Options, draw_options
from lockstep.sim.swarm import run_seed

SHORT = ("--seconds", "8", "--jobs", "1")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["sim", *words])
    written = capsys.readouterr()
    return int(caught.value.code or 0), written.out, written.err


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(run(capsys, *words, "--json")[1].splitlines()[-1])
    return result


def test_seeds_are_counted_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--seeds", "3:5", "--weights", "4,3,2,2", "--json", *SHORT)
    result: dict[str, Any] = json.loads(out)
    assert code == 0
    assert (result["seeds"], result["pass"], result["stuck"], result["diverged"]) == (2, 2, 0, 0)
    assert result["counters"]["blocks"] > 0
    assert result["failures"] == []
    assert result["floors_ok"] is True
    assert result["seeds_per_second_and_core"] > 0


def test_failing_seed_fails_the_command_and_says_how_to_see_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary: a fault that is always there must always be reported."""
    monkeypatch.setattr(TransactionFinality, "lock", lambda *_: True)
    code, out, err = run(capsys, "--seeds", "0:2", "--nodes", "5", "--json", *SHORT)
    result = json.loads(out)
    assert code == 1
    assert result["diverged"] == 2
    failure = result["failures"][0]
    assert re.search("one promise|ConflictingVotes", failure["sentence"])
    reproduce = "lockstep sim --seed 0 --nodes 5 --seconds 8"
    assert failure["reproduce"] == reproduce
    assert reproduce in err


def test_the_line_to_reproduce_names_every_option_and_makes_the_same_world(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--weights", "3,2,2,2,2", "--byzantine", "1", "--seconds", "6", "--masks", "mute"]
    for number in NUMBERS:
        given += [number.flag, str(max(number.low, min(number.high, 7)))]
    given += ["--no-reorder", "--keyed-signatures"]
    first = answer(capsys, "--seed", "5", *given)
    fixed: dict[str, Any] = {
        number.field: max(number.low, min(number.high, 7)) for number in NUMBERS
    }
    fixed |= {"masks": ("mute",), "reorder": False, "real_signatures": False}
    asked = Asked(weights=(3, 2, 2, 2, 2), byzantine=1, seconds=6, overrides=fixed)
    line = asked.reproduce(5)
    assert sorted(line.split()) == sorted(["lockstep", "sim", "--seed", "5", *given])
    assert answer(capsys, *line.split()[2:])["trace_hash"] == first["trace_hash"]
    assert first["options"] == {
        **{number.field: fixed[number.field] for number in NUMBERS},
        "weights": [3, 2, 2, 2, 2],
        "byzantine": 1,
        "masks": ["mute"],
        "seconds": 6,
        "reorder": False,
        "real_signatures": False,
    }


def test_every_option_of_a_world_has_a_flag() -> None:
    by_hand = {"weights", "byzantine", "masks", "seconds", "reorder", "real_signatures"}
    assert {number.field for number in NUMBERS} | by_hand == set(Options.__struct_fields__)


def test_a_fixed_option_changes_no_other() -> None:
    for seed in range(20):
        drawn = draw_options(seed)
        fixed = draw_options(seed, nodes=7, overrides={"crashes": 0, "loss_percent": 30})
        changed = {"weights", "crashes", "loss_percent"}
        for name in set(Options.__struct_fields__) - changed:
            assert getattr(fixed, name) == getattr(drawn, name)


def test_without_a_fault_the_others_strike_when_they_did() -> None:
    lines: dict[int, list[str]] = {}
    for crashes in (3, 0):
        told = lines[crashes] = []
        overrides = {"crashes": crashes, "partitions": 4, "clock_jumps": 3}
        run_seed(2, nodes=4, seconds=20, overrides=overrides, sink=told.append)
    strikes = re.compile(r" (?:world cut|node\d clock jumps) ")
    found = [[line for line in told if strikes.search(line)] for told in lines.values()]
    assert found[0] == found[1]
    assert len(found[0]) == 7


def test_beyond_the_promise_a_run_is_good_if_a_seed_diverges(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--seeds", "0:3", "--nodes", "4", "--byzantine", "2", "--seconds", "20")
    code, out, _ = run(capsys, *words, "--jobs", "1")
    assert code == 0
    assert "beyond the promise" in out
    result = answer(capsys, *words, "--jobs", "1")
    assert result["diverged"] >= 1
    assert result["beyond_the_promise"] is True


def test_beyond_the_promise_a_run_without_a_split_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The negative control: liars of half the weight who only keep silent split nobody."""
    words = ("--seed", "0", "--nodes", "4", "--byzantine", "2", "--payments", "0")
    code, out, _ = run(capsys, *words, "--masks", "garbage", *SHORT)
    assert (code, "beyond the promise" in out) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--seed", "1", "--seeds", "1:2"),
        ("--seeds", "5:5"),
        ("--seeds", "a:b"),
        ("--seed", "1", "--weights", "1,1,1"),
        ("--seed", "1", "--weights", "1,1,0,1"),
        ("--seed", "1", "--weights", "1,1,1,1", "--nodes", "5"),
        ("--seeds", "0:2", "--trace", "world.txt"),
        ("--seeds", "0:2", "--show"),
        ("--seed", "1", "--node", "2"),
        ("--seed", "1", "--nodes", "4", "--byzantine", "4"),
        ("--seed", "1", "--masks", "mute"),
        ("--seed", "1", "--byzantine", "1", "--masks", "mute,deaf"),
        ("--seed", "1", "--loss", "91"),
        ("--replay", "world.txt", "--seed", "1"),
        ("--replay", "world.txt", "--loss", "1"),
        ("--replay", "world.txt", "--trace", "other.txt"),
        ("--replay", "world.txt", "--planted"),
        ("--planted", "--exhaustive"),
        ("--planted", "--seeds", "0:5"),
        ("--exhaustive", "--no-reorder"),
        ("--conformance", "traces", "--show"),
    ],
)
def test_senseless_words_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, _ = run(capsys, *words, "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "usage"


def test_what_needs_the_checkout_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    with pytest.raises(WrongUsage, match="only from a checkout"):
        import_from_tests("planted.bugs")


def test_progress_tells_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr("lockstep.cli.progress.time.monotonic", lambda: next(times))
    with Progress(100, jobs=2, unit="seeds") as progress:
        progress.advance(5)
        progress.advance(8)
    assert capsys.readouterr().err == "8 of 100 seeds, 2.0 a second, 1.0 a core, 0:46 left\n"


def test_progress_is_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(10, jobs=1, unit="seeds") as progress:
        progress.say("seed 3 stuck: [1] of 2")
        progress.advance(10)
    written = capsys.readouterr()
    assert "seed 3 stuck: [1] of 2" in written.err
    assert "10/10" in written.err
    assert written.out == ""
