"""The frame of all benchmarks, and what `bench verify` says of the backends."""

import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lockstep.bench import measuring
from lockstep.bench.comparing import WrongReport, compare_figures, compare_variants, load_report
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.places import Places
from lockstep.bench.registry import BENCHMARKS, Benchmark, Report, Request
from lockstep.bench.verify import SIZES, compare
from lockstep.cli.main import main
from lockstep.crypto.keys import SodiumVerifier, Verifier
from lockstep.crypto.multibuffer import MultiBufferVerifier
from unit.crypto.signature_cases import BACKENDS

NOWHERE = Request(repetitions=1, places=Places(tests=None, vectors=None))


class Clock:
    """Time that passes only by work; the process has two busy threads."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 2 * self.now


def test_variants_take_turns_and_the_figure_is_a_median_an_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, calls = Clock(), list[str]()
    monkeypatch.setattr(measuring, "time", clock)

    def work(name: str, seconds: list[float]) -> None:
        calls.append(name)
        clock.now += seconds.pop(0) if len(seconds) > 1 else seconds[0]

    slow, quick = [0.03, 0.1, 0.5, 0.3], [0.025]
    variants = {
        "slow": Variant(work=lambda: work("slow", slow), items=10),
        "quick": Variant(work=lambda: work("quick", quick), items=1),
    }
    found = measure(variants, repetitions=3)
    assert calls == ["slow", "quick", *["slow", "quick"] * 3]
    assert (found["slow"].wall, found["slow"].cpu) == (30_000, 60_000)
    assert found["slow"].wall_low == pytest.approx(14_000)
    assert found["slow"].wall_high == pytest.approx(46_000)
    assert found["quick"].wall == found["quick"].wall_low == pytest.approx(25_000)
    assert found["slow"].samples == 3


def test_short_work_is_repeated_to_fill_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(measuring, "time", clock)
    done = 0

    def work() -> None:
        nonlocal done
        done += 1
        clock.now += 2**-13

    found = measure({"short": Variant(work=work, items=1)}, repetitions=2)
    warm_up, sample = measuring.WARM_UP_S * 2**13, measuring.SAMPLE_S * 2**13
    assert done == pytest.approx(warm_up + 2 * sample, abs=4)
    assert found["short"].wall == pytest.approx(2**-13 * 1e6, abs=0.001)


def figure(median: float, low: float, high: float) -> Figure:
    return Figure(median, low, high, median, low, high, samples=3)


def test_a_report_is_held_against_an_earlier_one(tmp_path: Path) -> None:
    before = {"same": figure(10, 9, 12), "faster": figure(10, 9, 12), "gone": figure(1, 1, 1)}
    after = {"same": figure(11, 10, 13), "faster": figure(5, 4, 6), "new": figure(1, 1, 1)}
    path = tmp_path / "before.json"
    path.write_bytes(msgspec.json.encode({"benchmark": "x", "more": 1, "figures": before}))
    assert load_report(path, name="x") == before
    compared = compare_figures(load_report(path, name="x"), after)
    assert {name: (c.ratio, c.is_apart) for name, c in compared.figures.items()} == {
        "same": (1.1, False),
        "faster": (0.5, True),
    }
    assert (compared.only_before, compared.only_after) == (["gone"], ["new"])
    with pytest.raises(WrongReport, match="not of"):
        load_report(path, name="y")
    path.write_text("[]")
    with pytest.raises(WrongReport):
        load_report(path, name="x")


def test_every_backend_is_compared_on_all_that_is_there() -> None:
    """[M3]."""
    found = compare(dict(BACKENDS), NOWHERE)
    assert (found["agree"], found["differences"]) == (True, [])
    assert found["sets"]["official"] == 1024
    assert set(found["absent"]) == {"speccheck", "wycheproof", "newer_wycheproof"}
    assert found["vectors"] == sum(found["sets"].values())


def test_a_backend_that_differs_is_named_with_the_case() -> None:
    """[M3]."""
    backends: dict[str, Verifier] = {"sodium": SodiumVerifier()}
    backends["liar"] = MultiBufferVerifier(lambda *_: 0)
    found = compare(backends, NOWHERE)
    assert not found["agree"]
    assert "liar: self-test holds only with the cofactor" in found["differences"]
    assert all(name.startswith("liar: ") for name in found["differences"])


def run_command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    code = ended.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().out


@pytest.mark.slow
def test_the_command_says_all_that_was_measured(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, text = run_command(capsys, "verify", "--json", "--repetitions", "2")
    content: dict[str, Any] = msgspec.json.decode(text)
    assert code == 0
    assert content["backends"] == list(BACKENDS)
    for name in BACKENDS:
        assert list(content["us_per_signature"][name]) == [str(size) for size in SIZES]
        assert all(micros > 0 for micros in content["us_per_signature"][name].values())
    assert content["agreement"]["agree"]
    assert {"processor", "cores", "python", "load_average"} <= set(content["machine"])
    (tmp_path / "before.json").write_text(text)
    words = ("verify", "--repetitions", "1", "--compare", str(tmp_path / "before.json"))
    code, text = run_command(capsys, *words)
    assert code == 0
    assert "after / before" in text


def test_the_command_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, text = run_command(capsys, "--list", "--json")
    assert code == 0
    assert list(msgspec.json.decode(text)["benchmarks"]) == list(BENCHMARKS)
    assert all(callable(benchmark.load()) for benchmark in BENCHMARKS.values())
    for words in ((), ("nothing",)):
        code, _ = run_command(capsys, *words)
        assert code == 2


def test_ctrl_c_leaves_a_report_of_what_was_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def run(presses: int) -> tuple[int, dict[str, Any]]:
        samples = iter(range(1000))

        def pressed() -> None:
            for _ in range(presses if next(samples) == 8 else 0):
                signal.raise_signal(signal.SIGINT)
            time.sleep(measuring.WARM_UP_S)

        variants = {"first": Variant(pressed, items=1), "second": Variant(pressed, items=1)}

        def benchmark(request: Request) -> Report:
            figures = measure(variants, repetitions=request.repetitions)
            again = measure({"third": Variant(lambda: None, items=1)}, repetitions=1000)
            return Report(figures=figures | again, content={"whole": True}, lines=[])

        monkeypatch.setattr(Benchmark, "load", lambda _: benchmark)
        code, text = run_command(capsys, "verify", "--json", "--repetitions", "50")
        return code, msgspec.json.decode(text)

    code, content = run(1)
    assert (code, content["cut_short"], content["whole"]) == (130, True, True)
    assert list(content["figures"]) == ["first", "second", "third"]
    assert [figure["samples"] for figure in content["figures"].values()] == [4, 3, 1]
    code, content = run(2)
    assert (code, content["cut_short"], "whole" in content) == (130, True, False)
    assert list(content["figures"]) == ["first", "second"]
    assert signal.getsignal(signal.SIGINT) is before


def test_variants_are_held_against_each_other() -> None:
    figures = {"nothing": figure(0, 0, 0), "first": figure(10, 9, 12), "half": figure(5, 4, 6)}
    compared = compare_variants(figures, {})
    found = compared.figures["half"]
    assert (compared.against, found.ratio, found.is_apart) == ({"half": "first"}, 0.5, True)
    assert (found.ratio_low, found.ratio_high) == (0.333, 0.667)
    named = compare_variants(figures, {"first": "half", "half": "nothing", "gone": "first"})
    assert {name: each.ratio for name, each in named.figures.items()} == {"first": 2.0}
    assert compare_variants({}, {}).figures == {}
