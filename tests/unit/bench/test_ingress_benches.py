"""The benchmarks of the ingress measure what they name, small."""

import pytest

from lockstep.bench import codec, rpc_submit, txid
from lockstep.bench.places import Places
from lockstep.bench.registry import BENCHMARKS, Request

ONCE = Request(repetitions=1, places=Places(tests=None, vectors=None))


def test_codec_measures_whole_batches_and_single_payments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "SIZES", (2,))
    monkeypatch.setattr(codec, "BATCH_TRANSACTIONS_MAX", 5)
    report = BENCHMARKS["codec"].load()(ONCE)
    assert {"decode a batch of 2", "decode 5 one by one"} <= set(report.figures)
    assert all(figure.cpu > 0 for figure in report.figures.values())
    assert 200 < report.content["bytes_per_payment"] < 260


def test_txid_measures_the_whole_and_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(txid, "SIZES", (2, 3))
    monkeypatch.setattr(txid, "BATCH_TRANSACTIONS_MAX", 9)
    report = BENCHMARKS["txid"].load()(ONCE)
    assert {"open a batch of 2", "open a batch of 3", "batch id"} <= set(report.figures)
    # A whole cannot be cheaper than a part of it; that would be another thing measured.
    whole, part = report.figures["open a batch of 3"], report.figures["checks of the witnesses"]
    assert whole.cpu_high > part.cpu_low > 0


def test_rpc_submit_goes_through_a_real_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc_submit, "CONNECTIONS", 2)
    monkeypatch.setattr(rpc_submit, "LIST_PAYMENTS", 3)
    monkeypatch.setattr(rpc_submit, "BATCH_TRANSACTIONS_MAX", 5)
    report = BENCHMARKS["rpc-submit"].load()(ONCE)
    assert len(report.figures) == len(report.lines) - 1 == 4
    for found in report.figures.values():
        assert 0 < found.cpu <= 2 * found.wall
