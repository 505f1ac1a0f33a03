"""What steps come to, from numbers made up so that the answer is known."""

import pytest

from lockstep.client.faults import BadAnswer
from lockstep.load.accounts import BackWatch, Limit, account_step, choose_best, summarise_overload
from lockstep.load.counters import Numbers, compare, parse_numbers, percentile_of
from lockstep.load.payments import SignedPayment
from lockstep.load.tally import LoadTally, Stretch
from lockstep.observability.metrics import NodeMetrics

EMPTY_LAG = {0.001: 0.0, 0.01: 0.0, float("inf"): 0.0}


def numbers(cpu_s: float, verify_s: float, late: int = 0) -> Numbers:
    return Numbers(cpu_s, verify_s, 0.0, 50 * 2**20, {0.001: 0.0, 0.01: late, float("inf"): late})


def step_of(tally: LoadTally, stretch: Stretch) -> dict[str, object]:
    told = stretch.describe(2.0)
    return {**told, "load_cpu_s": 0.5, "late_ms": {"p99": 1.0, "max": 2.0}} | {
        "starved": 0,
        "missing": 0,
        "is_cut_short": False,
    }


def test_a_step_counts_what_is_final_within_it_and_charges_all_it_cost() -> None:
    tally = LoadTally()
    stretch = Stretch(tally, start_s=100.0)
    stretch.note_sent(100.0)
    payments = [SignedPayment(f"{number}", b"", signatures=2) for number in range(10)]
    tally.send(payments, node=0, now_s=100.5)
    stretch.note_sent(100.5)
    tally.on_final(0, [f"{number}" for number in range(8)], now_s=100.6)
    tally.on_final(0, ["8", "9"], now_s=103.5)
    step = account_step(
        step_of(tally, stretch),
        [numbers(1.0, 0.1), numbers(1.0, 0.1)],
        [numbers(1.5, 0.2, late=100), numbers(1.5, 0.2)],
        idle_us=200_000,
        rss_bytes=[70 * 2**20],
        limit=Limit(us_per_signature=10.0, cores=2),
    )
    assert step["offered_tps"] == 5.0
    assert step["final_tps"] == 4.0
    assert step["final"] == 10
    assert step["cpu_us_per_tx_node_gross"] == 1e6 / 20
    assert step["cpu_us_per_tx_node"] == 800_000 / 20
    assert step["verify_share"] == 0.2
    assert step["signatures_per_tx"] == 2.0
    # Two nodes verify two signatures of 10 us each: 40 us a payment, on two cores.
    assert step["limit_tps"] == 50_000
    assert step["limit_share"] == round(4 / 50_000, 3)
    assert step["rss_mb"] == {"max": 70.0}
    assert step["loop_lag_ms"] == {"p99": 9.91}
    assert [row["final"] for row in step["course"]] == [8, 0, 0, 2]


def test_a_steady_latency_takes_nothing_off_the_rate_and_a_growing_queue_does() -> None:
    for share, expected in ((1, 1_000), (2, 500)):
        tally = LoadTally()
        stretch = Stretch(tally, start_s=0.0, warm_up_s=1.0)
        for tick in range(50):
            moment_s = tick / 10
            payments = [SignedPayment(f"{tick} {number}", b"") for number in range(100)]
            tally.send(payments, node=0, now_s=moment_s)
            stretch.note_sent(moment_s)
            # Half a second later all is final, or only half of it.
            done = [payment.txid for payment in payments][::share]
            tally.on_final(0, done, now_s=moment_s + 0.5)
        told = stretch.describe(5.0)
        assert told["offered_tps"] == pytest.approx(1_000, rel=0.03)
        assert told["final_tps"] == pytest.approx(expected, rel=0.03)


def test_the_limit_is_not_told_where_the_cores_are_not_known() -> None:
    assert Limit(10.0, 0).tps(nodes=4, signatures_per_tx=1) is None
    assert Limit(10.0, 2).tps(nodes=4, signatures_per_tx=0) is None


def test_back_is_the_first_of_five_good_seconds() -> None:
    rows = [(900, 5), (500, 5), (300, 5), (950, 5), (100, 5), (3_990, 9_000), (900, 9), (0, 9)]
    rows += [(1_900, 9), (800, 9), (1_000, 9), (900, 9)]
    course = [
        {"second": s, "sent": 4_000, "final": final, "p50": float(p50)}
        for s, (final, p50) in enumerate(rows)
    ]
    step = {"course": course, "refused": {"pool.full": 7}, "refused_with_hint": 7}
    step |= {"rss_mb": {"max": 90.0}}
    told = summarise_overload(
        step, factor=4, seconds=3, saturation_tps=1_000, rss_bytes_before=2**20
    )
    # The sixth second is of payments that waited; the pause in the eighth is made up for.
    assert told["seconds_until_back"] == 4
    assert told["offered_tps"] == 4_000
    assert told["rss_mb"] == {"before": 1.0, "max": 90.0}
    never = summarise_overload(step, factor=4, seconds=3, saturation_tps=2_000, rss_bytes_before=0)
    assert never["seconds_until_back"] is None


def test_the_best_step_is_the_one_with_most_final_among_the_kept() -> None:
    steps = [
        {"is_kept": True, "final_tps": 1_000.0},
        {"is_kept": True, "final_tps": 3_900.0},
        {"is_kept": False, "final_tps": 4_100.0},
    ]
    assert choose_best(steps) is steps[1]
    assert choose_best(steps[2:]) is steps[2]
    assert choose_best([]) is None


def test_percentiles_of_a_histogram_lie_inside_their_bucket() -> None:
    cumulated = {0.001: 50.0, 0.01: 98.0, 0.1: 100.0, float("inf"): 100.0}
    assert percentile_of(cumulated, percent=50) == 0.001
    assert percentile_of(cumulated, percent=99) == pytest.approx(0.055)
    assert percentile_of({0.1: 10.0, float("inf"): 100.0}, percent=99) == 0.1
    assert percentile_of(EMPTY_LAG, percent=99) is None


def test_a_node_that_started_meanwhile_has_no_numbers_before() -> None:
    used = compare([numbers(0, 0)], [numbers(2, 1, late=5)])
    assert (used.cpu_s, used.verify_cpu_s) == (2, 1)


def test_numbers_are_read_from_a_real_page_of_metrics() -> None:
    metrics = NodeMetrics()
    metrics.on_judged(signatures=7, cpu_seconds=0.25)
    metrics.on_lag(0.003)
    found = parse_numbers(metrics.render().decode())
    assert (found.signatures, found.verify_cpu_s) == (7, 0.25)
    assert found.cpu_s > 0
    assert found.rss_bytes > 2**20
    assert found.lag[0.002] == 0
    assert found.lag[0.005] == 1


@pytest.mark.parametrize("page", ["", "no metrics at all {", "python_info 1.0\n"])
def test_another_page_is_none(page: str) -> None:
    with pytest.raises(BadAnswer):
        parse_numbers(page)


def watch(until_back_s: float, quick_s: float) -> float | None:
    """Return when a watch would end a recovery of a minute after an overload of ten seconds."""
    back = BackWatch(after_s=10.0, saturation_tps=1_000)
    final = 0.0
    for tick in range(700):
        elapsed_s = tick / 10
        final += (1_000 if elapsed_s > until_back_s else 400) / 10
        if back.is_enough(elapsed_s, int(final), 20.0 if elapsed_s > quick_s else 4_000.0):
            return elapsed_s
    return None


def test_the_minute_after_an_overload_is_cut_when_the_nodes_are_back() -> None:
    ended_s = watch(18, 0)
    assert ended_s is not None
    assert 18 + 5 < ended_s < 30
    late_s = watch(18, 30)
    assert late_s is not None
    assert late_s > 35
    assert watch(1_000, 0) is watch(0, 1_000) is None
