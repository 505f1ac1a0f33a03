"""The benchmarks of parts do the work they say they time."""

from pathlib import Path
from typing import Any

import pytest

from lockstep.bench import frames, pool, sim, tally, tls
from lockstep.bench.made_payments import make_genesis
from lockstep.bench.measuring import Figure
from lockstep.bench.places import Places
from lockstep.bench.registry import Request
from lockstep.mempool.pool import Pool
from lockstep.primitives.votes import VoteKind

PLACES = Places(tests=None, vectors=Path("nowhere"))


def request(*, nodes: int | None = None) -> Request:
    return Request(repetitions=1, places=PLACES, nodes=nodes)


def figure(cpu: float) -> Figure:
    return Figure(cpu, cpu, cpu, cpu, cpu, cpu, samples=1)


@pytest.mark.parametrize("weights", [(1,) * 4, (1, 10, 100, 1, 10, 100, 1)])
def test_an_epoch_of_the_tally_makes_everything_final(weights: tuple[int, ...]) -> None:
    """[B4]."""
    committee = make_genesis(weights, coins=0).committee
    sheets = [tally.make_sheet(committee, size=size, number=size) for size in (1, 9)]
    finality = tally.count_epoch(committee, sheets)
    for sheet in sheets:
        held = finality.batches[sheet.batch_id]
        whole = (1 << len(sheet.txids)) - 1
        assert (held.final, held.own_voted, held.own_confirmed) == (whole, whole, whole)
        assert held.weight_at(VoteKind.CONFIRM, 0) == sum(weights)
        for txid, outpoints in zip(sheet.txids, sheet.inputs, strict=True):
            assert [finality.holder_of(outpoint) for outpoint in outpoints] == [txid]


def test_the_law_of_the_tally_is_a_line_through_its_ends() -> None:
    found = {
        tally.name_of(400, 4, tally.UNEQUAL): figure(2.0 + 4 * 0.05),
        tally.name_of(400, 100, tally.UNEQUAL): figure(2.0 + 100 * 0.05),
    }
    law = tally.find_law(found, (4, 31, 100), 400, tally.UNEQUAL)
    assert law == {"us_per_message": 10.0, "us_per_payment_beside": 2.0}


def test_the_tally_is_measured_for_one_size_of_set() -> None:
    report = tally.run(request(nodes=5))
    names = [tally.name_of(size, 5, kind) for size in (1, 100, 400) for kind in ("", " unequal")]
    assert list(report.figures) == names
    assert all(found.cpu > 0 for found in report.figures.values())


def test_variants_of_the_pool_leave_it_as_full_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """[F6]."""
    made: list[Pool] = []
    fill = pool.fill

    def watch(*arguments: Any) -> Pool:
        made.append(fill(*arguments))
        return made[-1]

    monkeypatch.setattr(pool, "fill", watch)
    held = 1_000
    variants = pool.make_variants(held)
    before = [len(each) for each in made]
    assert before == [held - pool.BATCH, *[held] * 5]
    for _ in range(4):
        for name, variant in variants.items():
            if name != "fill":
                variant.work()
    assert [(len(each), each.voted_count) for each in made] == [(size, 0) for size in before]


def test_frames_come_back_as_they_were_sent() -> None:
    report = frames.run(request())
    table = report.content["messages"]
    assert table["joined votes"]["bytes"] == table["vote on 1 batch"]["bytes"]
    assert 80_000 < table["batch of 400"]["bytes"] < 110_000
    assert set(report.figures) == {
        f"{way} {name}" for name in table for way in ("encode", "decode")
    }


def test_both_sides_of_a_connection_are_timed() -> None:
    plans = tls.make_plans(divisor=12)
    with tls.session() as (sender, receiver):
        for plan in plans.values():
            (sent, wall), (received, same_wall) = tls.transfer(sender, receiver, plan)
            assert wall == same_wall
            assert min(sent, received) > 0


def test_a_session_that_ends_is_said_and_not_waited_for() -> None:
    with tls.session() as (sender, receiver):
        arrived = receiver.expect(1)
        sender.stop()
        with pytest.raises(tls.NoSession, match="is over"):
            arrived.result(5)


def test_seeds_of_the_swarm_are_run_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim, "SEEDS_MAX", 1)
    report = sim.run(request(nodes=4))
    assert report.is_good
    assert (report.content["seeds"], report.content["failed"]) == (1, [])
    assert report.content["seeds_per_cpu_second"] == pytest.approx(
        1e6 / report.figures["seed"].cpu, abs=0.01
    )
