"""The index is written with rests, so that who shares the processors goes on, unless it hurries."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from lockstep.ledger.coins import CoinDelta
from lockstep.storage import flusher
from lockstep.storage.flusher import HURRY, PAUSE_S, REST, Flusher, FlushLimits
from lockstep.storage.layers import Layer, Layers

SLICES = 5
SLICE_S = 0.002
CHANGES = 100


class Clock:
    """The processor's time of the thread, moved by the index alone; notes each rest."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.rests: list[float] = []

    def thread_time(self) -> float:
        return self.now_s


class SlowIndex:
    """An index whose flush is some slices of work, after each of which `between` happens."""

    path = Path()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def flush(self, layers: object) -> Iterator[None]:  # What is written is not looked at.
        for _ in range(SLICES):
            self._clock.now_s += SLICE_S
            yield


def rests_with(
    waiting: int, monkeypatch: pytest.MonkeyPatch, *, is_stopping: bool = False
) -> list[float]:
    """Return the rests of a flush while so many changes wait."""
    clock, layers = Clock(), Layers()
    stub = SimpleNamespace(sleep=clock.rests.append, thread_time=clock.thread_time)
    monkeypatch.setattr(flusher, "time", stub)
    delta = CoinDelta(1, (), (), tuple(bytes([n]) * 32 for n in range(waiting)))
    layers.add([Layer(delta, block_id=bytes(32), coin_count=0, coin_sum=0)])
    layers.settle(1)
    index = SlowIndex(clock)
    tried = Flusher(index, layers, FlushLimits(changes=CHANGES))  # type: ignore[arg-type]  # As much of an index as is used.
    tried._is_stopping = is_stopping
    tried.flush(rest=REST)
    assert not layers.changes
    return clock.rests


def test_it_rests_by_the_work_done_and_less_the_more_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """[T8] Four times a slice while few wait, then less, nothing when it hurries."""
    assert rests_with(10, monkeypatch) == pytest.approx([REST * SLICE_S] * SLICES)
    assert rests_with(CHANGES, monkeypatch) == pytest.approx([REST * SLICE_S] * SLICES)
    assert rests_with(CHANGES * 3 // 2, monkeypatch) == pytest.approx([REST * SLICE_S / 2] * SLICES)
    assert rests_with(CHANGES * HURRY - 1, monkeypatch) == pytest.approx([PAUSE_S] * SLICES)
    assert rests_with(CHANGES * HURRY, monkeypatch) == []


def test_who_stops_does_not_wait_for_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """[T8] A flush of 300,000 changes would else keep a stop waiting for some seconds."""
    assert rests_with(10, monkeypatch, is_stopping=True) == []
