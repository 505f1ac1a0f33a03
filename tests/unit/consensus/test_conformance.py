"""The external traces against our consensus, and that a false trace or a broken rule is found.

What is compared is said in `lockstep.sim.conformance`; here is the way from folder to verdict.
"""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lockstep.cli.sim_conformance import run_conformance
from lockstep.consensus import rounds
from lockstep.consensus.driver import Driver
from lockstep.consensus.rounds import Action, Phase, Trigger
from lockstep.consensus.votekeeper import VoteKeeper
from lockstep.sim.conformance.judge import NoTraces, TraceKind, judge_file

Raw = dict[str, Any]
SHORT = {
    "votekeeper": "votekeeper-random-000",
    "rounds": "consensus-random-007",
    "driver": "statemachineTest__DecidingRunTest_20",
}


def judge(directory: Path) -> Raw:
    content, lines, passed = run_conformance(directory, say=lambda line: None)
    assert passed == (content["verdict"] == "pass")
    assert lines
    return content


def load(vectors: Path, kind: str) -> Raw:
    path = vectors / "tendermint" / f"{SHORT[kind]}.itf.json.gz"
    trace: Raw = json.loads(gzip.decompress(path.read_bytes()))
    return trace


def judge_trace(directory: Path, trace: Raw) -> Raw:
    (directory / "one.itf.json").write_text(json.dumps(trace))
    return judge(directory)


def records(raw: object) -> Iterator[Raw]:
    """Yield every record and expression of a raw trace, outermost first."""
    if isinstance(raw, dict):
        yield raw
        for value in raw.values():
            yield from records(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from records(value)


def variable(state: Raw, name: str) -> str:
    """Return the full name of a state's variable."""
    return next(full for full in state if full.rpartition("::")[2] == name)


@pytest.mark.slow
def test_every_external_trace_is_replayed_and_none_differs(vectors: Path) -> None:
    content = judge(vectors / "tendermint")
    assert content["files"] == sum(path.is_file() for path in (vectors / "tendermint").rglob("*"))
    assert content["files"] >= 118
    assert content["first_mismatches"] == content["first_errors"] == []
    assert content["mismatches"] == content["errors"] == content["other_files"] == 0
    assert content["steps_unreached"] == 0
    parts = content["by_kind"]
    assert parts.keys() == set(TraceKind)
    assert sum(part["files"] for part in parts.values()) == content["files"]
    assert all(part["steps"] > 500 for part in parts.values())


# False traces: one expected value is another, or one step is missing.


def flip_emitted(state: Raw) -> None:
    state[variable(state, "lastEmitted")] = {"tag": "PolkaNilVKOutput", "value": {"#bigint": "9"}}


def flip_weight(state: Raw) -> None:
    counted = next(r for r in records(state) if r.get("valuesWeights", {}).get("#map"))
    counted["valuesWeights"]["#map"][0][1] = {"#bigint": "1000"}


def flip_evidence(state: Raw) -> None:
    book = state[variable(state, "bookkeeper")]
    book["evidence"] = {"#set": [] if book["evidence"]["#set"] else [{"#set": []}]}


def flip_output(state: Raw) -> None:
    output = {"tag": "SkipRoundOutput", "value": {"#bigint": "7"}}
    if "output" in state:
        state["output"] = output
    else:
        state[variable(state, "_hist")]["#tup"][2] = output


def flip_valid_round(state: Raw) -> None:
    actor_of(state)["validRound"] = {"#bigint": "5"}


def flip_phase(state: Raw) -> None:
    actor_of(state)["step"] = {"tag": "PrecommitStep", "value": {"#tup": []}}


def flip_member(state: Raw) -> None:
    state["state"]["p"] = "v9"


def flip_weight_of_voter(state: Raw) -> None:
    state[variable(state, "weightedVote")]["value"]["#tup"][1] = {"#bigint": "1000"}


def flip_emitted_so_far(state: Raw) -> None:
    said = next(r for r in records(state) if r.get("emittedOutputs", {}).get("#set"))
    said["emittedOutputs"]["#set"].pop()


def flip_weight_of_actor(state: Raw) -> None:
    flip_weight(engine_of(state))


def actor_of(state: Raw) -> Raw:
    """Return the machine's state of who took the step."""
    machine: Raw = state["state"] if "state" in state else engine_of(state)["cs"]
    return machine


def engine_of(state: Raw) -> Raw:
    actor = state[variable(state, "_hist")]["#tup"][0]
    engine: Raw = dict(state[variable(state, "system")]["#map"])[actor]["es"]
    return engine


@pytest.mark.parametrize(
    ("kind", "flip", "what"),
    [
        ("votekeeper", flip_emitted, "emitted"),
        ("votekeeper", flip_weight, "weights"),
        ("votekeeper", flip_evidence, "evidence"),
        ("votekeeper", flip_weight_of_voter, "weight of the voter"),
        ("votekeeper", flip_emitted_so_far, "emitted so far"),
        ("rounds", flip_output, " in "),
        ("rounds", flip_valid_round, " in "),
        ("rounds", flip_phase, " in "),
        ("rounds", flip_member, "member"),
        ("driver", flip_output, "output of"),
        ("driver", flip_valid_round, "state of"),
        ("driver", flip_weight_of_actor, "weights of"),
    ],
)
def test_one_false_value_is_a_mismatch_at_its_step(
    vectors: Path, tmp_path: Path, kind: str, flip: Callable[[Raw], None], what: str
) -> None:
    trace = load(vectors, kind)
    place = len(trace["states"]) - 2
    flip(trace["states"][place])
    content = judge_trace(tmp_path, trace)
    assert (content["verdict"], content["mismatches"], content["errors"]) == ("fail", 1, 0)
    assert content["by_kind"][kind]["mismatches"] == 1
    [told] = content["first_mismatches"]
    assert (told["file"], told["step"]) == ("one.itf.json", place)
    assert what in told["what"]
    assert told["expected"] != told["found"]
    assert content["steps"] + content["steps_unreached"] == len(trace["states"]) - 1


def is_visible(before: Raw, after: Raw, kind: str) -> bool:
    """Tell whether a step changed anything that our side has too."""
    if kind == "driver":
        name = variable(after, "system")
        earlier, later = (
            [(member, node["es"]) for member, node in state[name]["#map"]]
            for state in (before, after)
        )
        return earlier != later
    name = variable(after, "bookkeeper" if kind == "votekeeper" else "state")
    return bool(before[name] != after[name])


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHORT)
def test_a_missing_step_is_a_mismatch_wherever_it_is(
    vectors: Path, tmp_path: Path, kind: str
) -> None:
    states, missed = load(vectors, kind)["states"], 0
    for place in range(1, len(states) - 1):
        if is_visible(states[place - 1], states[place], kind):
            content = judge_trace(tmp_path, {"states": states[:place] + states[place + 1 :]})
            assert (content["mismatches"], content["errors"]) == (1, 0), place
            missed += 1
    assert missed >= 3


# Broken rules: the traces see them.


def lock_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = (Phase.PREVOTE, Trigger.PROPOSAL_AND_POLKA)
    table = {**rounds.TRANSITIONS, cell: (Phase.PRECOMMIT, Action.SET_VALID)}
    monkeypatch.setattr(rounds, "TRANSITIONS", table)


def count_half_as_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        VoteKeeper, "_is_quorum", lambda self, weight: 2 * weight > self._weights.total_weight
    )


def decide_in_the_current_round_only(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Driver._find_trigger

    def find(self: Driver) -> rounds.RoundInput | None:
        event = whole(self)
        late = event is not None and event.trigger is Trigger.PROPOSAL_AND_COMMIT
        return None if late and event and event.round < self.state.round else event

    monkeypatch.setattr(Driver, "_find_trigger", find)


@pytest.mark.parametrize(
    ("break_rule", "name"),
    [
        (lock_nothing, "consensus-random-005"),
        (count_half_as_quorum, "votekeeper-random-000"),
        (decide_in_the_current_round_only, "decideForPastRoundTest__decidePastTest_0"),
    ],
)
def test_a_broken_rule_is_a_mismatch(
    vectors: Path,
    monkeypatch: pytest.MonkeyPatch,
    break_rule: Callable[[pytest.MonkeyPatch], None],
    name: str,
) -> None:
    path = vectors / "tendermint" / f"{name}.itf.json.gz"
    assert judge_file(path, name=name).mismatch is None
    break_rule(monkeypatch)
    assert judge_file(path, name=name).mismatch is not None


# Files and folders that cannot be judged.

STATE = {"x": 1}
UNJUDGED = {
    "cut.json": (b'{"states": [{"x"', "sim.itf_damaged", "no JSON"),
    "text.json": (b"hello", "sim.itf_damaged", "no JSON"),
    "other.json": (b'{"a": 1}', "sim.itf_damaged", "no list of states"),
    "list.json": (b"[]", "sim.itf_damaged", "no list of states"),
    "stateless.json": (b'{"states": []}', "sim.itf_damaged", "no step"),
    "deep.json": (b'{"states": [' + b"[" * 5_000, "sim.itf_damaged", "deeper"),
    "number.json": (
        b'{"states": [{"x": {"#bigint": "1x"}}, {"x": 1}]}',
        "sim.itf_damaged",
        "no integer",
    ),
    "shape.json": (
        b'{"states": [{"x": {"#map": [1]}}, {"x": 1}]}',
        "sim.itf_damaged",
        "key with a value",
    ),
    "ragged.json": (b'{"states": [{"x": 1}, {"y": 1}]}', "sim.itf_damaged", "same variables"),
    "unknown.json": (
        b'{"states": [{"balance": 1}, {"balance": 2}]}',
        "sim.itf_unknown",
        "its variables are balance",
    ),
    "words.json": (
        b'{"states": [' + b",".join([b'{"state": 1, "input": 1, "output": 1}'] * 2) + b"]}",
        "sim.itf_damaged",
        "not of the known model",
    ),
    "cut.json.gz": (
        gzip.compress(b'{"states": []}' * 99)[:40],
        "sim.itf_damaged",
        "cannot be read",
    ),
    "plain.json.gz": (b'{"states": []}', "sim.itf_damaged", "cannot be read"),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_a_file_that_cannot_be_judged_is_named_and_fails_the_run(
    vectors: Path, tmp_path: Path, name: str
) -> None:
    content_of_file, code, sentence = UNJUDGED[name]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / name).write_bytes(content_of_file)
    (tmp_path / "notes.txt").write_text("no trace")
    (tmp_path / "GOOD.ITF.JSON").write_text(json.dumps(load(vectors, "rounds")))
    content = judge(tmp_path)
    assert (content["verdict"], content["files"], content["errors"]) == ("fail", 2, 1)
    assert (content["mismatches"], content["other_files"]) == (0, 1)
    assert content["by_kind"]["rounds"]["files"] == 1
    [told] = content["first_errors"]
    assert (told["file"], told["code"]) == (f"deep/er/{name}", code)
    assert sentence in told["message"]


def test_a_word_the_model_does_not_have_is_no_trace_of_it(vectors: Path, tmp_path: Path) -> None:
    for kind, old, new in (
        ("rounds", '"NewRoundCInput"', '"NewRoundEveryCInput"'),
        ("driver", '"StartDInput"', '"RestartDInput"'),
        ("votekeeper", '"Precommit"', '"Postcommit"'),
    ):
        text = json.dumps(load(vectors, kind))
        assert old in text
        (tmp_path / "one.json").write_text(text.replace(old, new))
        [told] = judge(tmp_path)["first_errors"]
        assert new.strip('"') in told["message"]


def test_a_folder_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoTraces, match="is no folder"):
        judge(tmp_path / "nowhere")
    with pytest.raises(NoTraces, match="no file below"):
        judge(tmp_path)
    (tmp_path / "notes.txt").write_text("no trace")
    with pytest.raises(NoTraces, match="no file below"):
        judge(tmp_path)


# Heights: the cluster's environment gives a member a fresh engine.


def raise_height(raw: Any) -> Any:
    """Return a state of height 0 as it would be at height 1."""
    if isinstance(raw, list):
        return [raise_height(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    return {
        name: {"#bigint": "1"} if name == "height" else raise_height(value)
        for name, value in raw.items()
    }


def test_a_second_height_begins_with_a_fresh_driver(vectors: Path, tmp_path: Path) -> None:
    states = load(vectors, "driver")["states"]
    content = judge_trace(tmp_path, {"states": states + raise_height(states)})
    assert content["verdict"] == "pass"
    assert content["steps"] == 2 * len(states) - 1


def test_votes_that_came_before_the_start_are_counted(vectors: Path, tmp_path: Path) -> None:
    """A member begins in the round that a third is in, and its books have their votes."""
    idle = load(vectors, "driver")["states"][0]
    [(name, _), *_] = idle["system"]["#map"]
    idle = json.loads(json.dumps(idle))
    idle["system"]["#map"] = [row for row in idle["system"]["#map"] if row[0] == name]
    node = idle["system"]["#map"][0][1]
    waiting = {
        "#set": [
            {
                "voteType": {"tag": "Prevote", "value": {"#tup": []}},
                "srcAddress": voter,
                "height": {"#bigint": "0"},
                "round": {"#bigint": "2"},
                "valueId": {"tag": "Val", "value": "a"},
            }
            for voter in ("v2", "v3")
        ]
    }
    node["incomingVotes"] = waiting
    begun = json.loads(json.dumps(idle))
    node = begun["system"]["#map"][0][1]
    node["incomingVotes"] = {"#set": []}
    node["es"]["started"] = True
    node["es"]["cs"] |= {"round": {"#bigint": "2"}, "step": {"tag": "ProposeStep", "value": {}}}
    weights = {"#map": [[{"tag": "Val", "value": "a"}, {"#bigint": "2"}]]}
    none: Raw = {
        "totalWeight": {"#bigint": "4"},
        "valuesWeights": {"#map": []},
        "votesAddresses": {"#set": []},
        "receivedVotes": {"#set": []},
    }
    two = {"valuesWeights": weights, "votesAddresses": {"#set": ["v2", "v3"]}}
    votes = {
        "height": {"#bigint": "0"},
        "round": {"#bigint": "2"},
        "prevotes": none | two | {"receivedVotes": waiting},
        "precommits": none,
        "votesAddressesWeights": {"#map": [["v2", {"#bigint": "1"}], ["v3", {"#bigint": "1"}]]},
        "emittedOutputs": {"#set": []},
    }
    node["es"]["bk"]["rounds"] = {"#map": [[{"#bigint": "2"}, votes]]}
    time = {"#tup": [{"#bigint": "2"}, {"tag": "ProposeTimeout", "value": {"#tup": []}}]}
    begun["_hist"] = {
        "#tup": [
            name,
            {"tag": "PendingDInput", "value": {"tag": "NewRoundCInput", "value": {"#bigint": "2"}}},
            {"tag": "TimeoutOutput", "value": time},
        ]
    }
    assert judge_trace(tmp_path, {"states": [idle, begun]})["first_mismatches"] == []
    weights["#map"][0][1] = {"#bigint": "3"}
    assert judge_trace(tmp_path, {"states": [idle, begun]})["mismatches"] == 1
