"""Growth: chains that storage takes, laws that hold, and a page that is not stale."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lockstep.bench import growth, growth_blocks, growth_coins, growth_nodes
from lockstep.bench.chart import HEIGHT, WIDTH, draw_chart
from lockstep.bench.growth_laws import (
    derive_sent_bytes,
    derive_signatures,
    deviation_percent,
    fit_constant,
    fit_line,
    fit_logarithm,
)
from lockstep.bench.growth_page import PAGE, REPORT, load_growth, render
from lockstep.bench.growth_points import disk_bytes, traced
from lockstep.bench.growth_words import GROUPS
from lockstep.bench.made_chain import ChainMaker
from lockstep.bench.places import Places
from lockstep.bench.registry import Request
from lockstep.crypto.keys import SodiumVerifier
from lockstep.storage.store import Store

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_storage_takes_and_gives_back_a_made_chain(tmp_path: Path) -> None:
    """[T8]."""
    maker = ChainMaker()
    Store.create(tmp_path, maker.genesis, voting_key=None)
    store = Store.open(tmp_path, maker.genesis, voting_key=None)
    records = [maker.decide_payments(3), maker.decide_coins(40, per_transaction=7)]
    records.append(maker.decide_spending(records[1].delta.created[:5]))
    store.commit(records[:2])
    store.commit(records[2:])
    store.close()
    assert maker.state.coin_count == 1 + 3 + 40 + 5
    store = Store.open(tmp_path, maker.genesis, voting_key=None)
    try:
        assert store.load_state() == maker.state
        readers = store.readers()
        coins = {outpoint: coin for r in records for outpoint, coin in r.delta.created}
        spent = [outpoint for outpoint, _ in records[2].delta.spent]
        assert readers.coins_of(spent) == [None] * 5
        left = [outpoint for outpoint in coins if outpoint not in spent]
        assert readers.coins_of(left) == [coins[outpoint] for outpoint in left]
        for record in records:
            assert readers.decided(record.delta.height) == record.decided
    finally:
        store.close()


@pytest.mark.slow
def test_every_curve_has_a_point_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_coins, "SAMPLE", 200)
    monkeypatch.setattr(growth_coins, "BLOCK", 20)
    monkeypatch.setattr(growth_coins, "QUICK", (1_000, 3_000))
    monkeypatch.setattr(growth_blocks, "QUICK", (1, 30))
    monkeypatch.setattr(growth_nodes, "QUICK", (4,))
    monkeypatch.setattr(growth_nodes, "BATCHES", 1)
    report = growth.run(Request(1, Places(None, None)))
    sizes = {"nodes": [4], "coins": [1_000, 3_000], "blocks": [1, 30]}
    for group in GROUPS:
        for each in group.growths:
            points = report.content["curves"][each.name]
            assert [size for size, _ in points] == sizes[group.by], each.name
            assert all(value > 0 for _, value in points), each.name
    assert "flush_us_by_coins 1000" in report.figures
    assert "open_s_by_coins 1000" not in report.figures


def test_a_run_that_is_cut_short_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth_coins, "SAMPLE", 50)
    monkeypatch.setattr(growth_coins, "BLOCK", 5)
    found = growth_coins.measure_coins((1_000, 10**9), advance=lambda: False)
    assert {size for points in found.values() for size, _ in points} == {1_000}


@pytest.mark.slow
def test_messages_of_a_network_grow_as_derived() -> None:
    """[B2, T1]: nothing but the payments, two words a batch and the words of a height travels."""
    found = growth_nodes.measure_nodes((4, 7), SodiumVerifier(), batches=2)
    for name, law in (
        ("signatures_by_nodes", derive_signatures),
        ("sent_bytes_by_nodes", derive_sent_bytes),
    ):
        assert deviation_percent(found[name], law(found, name)[1]) < 8, name


def test_forms_find_what_the_points_were_made_of() -> None:
    sizes = (1, 16, 256, 4096)
    made: dict[str, tuple[Any, Any]] = {
        "line": (fit_line, lambda size: 3 + 2 * size),
        "logarithm": (fit_logarithm, lambda size: 3 + 2 * (size.bit_length() - 1)),
        "constant": (fit_constant, lambda _: 5),
    }
    curves = {name: [(size, float(of(size))) for size in sizes] for name, (_, of) in made.items()}
    for name, (fit, _) in made.items():
        assert deviation_percent(curves[name], fit(curves, name)[1]) < 1e-6, name
    assert deviation_percent(curves["line"], fit_logarithm(curves, "line")[1]) > 50


@pytest.mark.parametrize("values", [(3.0, 4.0, 3.5), (0.001, 2.0, 9_000.0)])
def test_a_chart_is_xml_and_keeps_its_points_inside(values: tuple[float, ...]) -> None:
    points = list(zip((4, 100, 5_000_000), values, strict=True))
    root = ET.fromstring(  # We made it.
        draw_chart("growth", by="coins", unit="us", measured=points, law=points)
    )
    circles = [each for each in root.iter() if each.tag.endswith("circle")]
    assert len(circles) == 3
    places = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in circles]
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in places)
    by_value = [y for _, (_, y) in sorted(zip(values, places, strict=True))]
    assert by_value == sorted(by_value, reverse=True)


def test_memory_and_disk_are_what_was_taken(tmp_path: Path) -> None:
    made, taken = traced(lambda: [bytes(1000) for _ in range(100)])
    assert len(made) * 1000 < taken < len(made) * 1100
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(bytes([1]) * 8192)
    assert 8192 <= disk_bytes(tmp_path) <= 3 * 8192


def test_the_page_is_what_its_report_says() -> None:
    rendered = render(load_growth(DOCS / REPORT))
    assert PAGE in rendered
    for name, text in rendered.items():
        stale = f"{name} is stale: python -m lockstep.bench.growth_page"
        assert (DOCS / name).read_text("utf-8") == text, stale
    kept = {f"pictures/{path.name}" for path in (DOCS / "pictures").glob("growth-*.svg")}
    assert kept == set(rendered) - {PAGE}
