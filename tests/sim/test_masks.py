"""Members that lie in every way there is: the honest ones stay safe, go on, and are never framed.

`lockstep sim --seed N --nodes 4 --byzantine 1` replays a seed; `docs/internals/twins.md` says what
these runs prove. Beyond a third of the weight the checkers must see the disagreement [R2].
"""

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from lockstep.errors import Misuse
from lockstep.replica import quotas
from lockstep.sim.dice import make_dice
from lockstep.sim.masks.casting import NAMES, choose_masked
from lockstep.sim.masks.masked_host import TWIN
from lockstep.sim.options import Options, draw_options
from lockstep.sim.outcome import FLOORS_OF_LIARS, Outcome, Verdict, missed_floors
from lockstep.sim.swarm import run_seed
from lockstep.sim.world import World

SHORT_SECONDS = 15
# What a mask of one kind makes every honest node see sooner or later.
EQUIVOCATING = (TWIN, "double_voter", "double_proposer", "double_freeze")
PROGRAM = """
import json
from lockstep.sim.swarm import run_seed
runs = [run_seed(seed, nodes=4, byzantine=1, seconds=10) for seed in (1, 4)]
print(json.dumps([run.trace_hash for run in runs]))
"""


def run_mask(name: str, seed: int) -> Outcome:
    overrides = {"masks": (name,)}
    return run_seed(seed, nodes=4, byzantine=1, seconds=SHORT_SECONDS, overrides=overrides)


@pytest.mark.parametrize(
    "name", [TWIN, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES if name != TWIN)]
)
def test_one_liar_of_four_does_its_work_in_vain(name: str) -> None:
    outcomes = [run_mask(name, seed) for seed in range(2)]
    assert [(o.verdict, o.sentence) for o in outcomes] == [(Verdict.PASS, "")] * len(outcomes)
    assert sum(outcome.counters.get(f"mask_{name}", 0) for outcome in outcomes) > 0
    assert sum(outcome.counters["final"] for outcome in outcomes) > 0
    assert sum(outcome.counters["closings"] for outcome in outcomes) > 0
    if name != TWIN:
        # What only lies outside its core makes no honest core of its own fall over.
        assert sum(outcome.counters["falls"] for outcome in outcomes) == 0
    if name in EQUIVOCATING:
        assert sum(outcome.counters["equivocations"] for outcome in outcomes) > 0
        assert sum(outcome.counters["pairs_heard"] for outcome in outcomes) > 0
        assert sum(outcome.counters["evidence"] for outcome in outcomes) > 0


def test_masks_that_only_keep_quiet_are_never_accused() -> None:
    for name in ("mute", "half_votes", "withheld_votes", "withheld_certificates"):
        counters = run_mask(name, 5).counters
        assert (counters["equivocations"], counters["evidence"], counters["blamed"]) == (0, 0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("nodes", "liars", "seeds"), [(4, 1, 5), (7, 2, 2)])
def test_drawn_masks_change_nothing(nodes: int, liars: int, seeds: int) -> None:
    for seed in range(seeds):
        outcome = run_seed(seed, nodes=nodes, byzantine=liars)
        assert (seed, outcome.verdict, outcome.sentence) == (seed, Verdict.PASS, "")
        assert outcome.counters["lies"] > 0
        assert outcome.culprits == ()


@pytest.mark.slow
def test_junk_is_refused_at_a_small_quota_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its true size no world comes near the quota of batches that too few stand behind [B3]."""
    refused: list[bytes] = []
    refuse = quotas.BatchQuotas.refuse

    def note(held: quotas.BatchQuotas, batch_id: bytes) -> None:
        refused.append(batch_id)
        refuse(held, batch_id)

    monkeypatch.setattr(quotas, "UNBACKED_BYTES_MAX", 8_000)
    monkeypatch.setattr(quotas.BatchQuotas, "refuse", note)
    for seed in range(3):
        masks = ("unknown_batches", "double_voter")
        outcome = run_seed(seed, nodes=4, byzantine=1, overrides={"masks": masks})
        assert (seed, outcome.verdict, outcome.sentence) == (seed, Verdict.PASS, "")
    assert len(refused) > 100


def test_two_twins_of_four_are_seen_and_only_they_are_named() -> None:
    """The control: where a third of the weight lies the checkers must find it out [R2]."""
    named = 0
    for seed in range(5):
        options = draw_options(seed, nodes=4, weights=(1, 1, 1, 1), byzantine=2)
        world = World(seed, options)
        liars = {world.hosts[index].member_id.hex() for index in world.masked}
        outcome = world.run()
        assert outcome.verdict is Verdict.DIVERGED
        assert set(outcome.culprits) <= liars
        named += set(outcome.culprits) == liars
    assert named > 0


@pytest.mark.slow
def test_masked_world_is_the_same_under_any_hash_seed() -> None:
    def traces(hash_seed: str) -> Any:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", PROGRAM]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return json.loads(run.stdout)

    assert traces("0") == traces("4242")


def test_masked_members_hold_less_than_a_third_unless_more_is_asked_for() -> None:
    for seed in range(200):
        for nodes, liars in ((4, 1), (5, 1), (7, 2), (10, 3)):
            options = draw_options(seed, nodes=nodes, byzantine=liars)
            masked = choose_masked(options, make_dice(seed, "masks"))
            assert len(masked) == liars
            assert 3 * sum(options.weights[i] for i in masked) < sum(options.weights)
    control = choose_masked(Options(byzantine=2), make_dice(1, "masks"))
    assert len(control) == 2


def test_unknown_mask_is_refused() -> None:
    with pytest.raises(Misuse, match="no mask 'beard'"):
        World(1, Options(byzantine=1, masks=("beard",)))


def test_swarm_whose_masks_do_nothing_misses_its_floors() -> None:
    outcome = run_seed(1, nodes=4, byzantine=1, seconds=5)
    lazy = [msgspec.structs.replace(outcome, counters={})] * 40
    missed = " ".join(missed_floors(lazy))
    assert all(f"{name}:" in missed for name in FLOORS_OF_LIARS)
    honest = msgspec.structs.replace(outcome.options, byzantine=0)
    quiet = [msgspec.structs.replace(outcome, counters={}, options=honest)] * 40
    assert "with_lie" not in " ".join(missed_floors(quiet))
