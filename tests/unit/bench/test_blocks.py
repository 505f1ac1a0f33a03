"""The benchmarks of blocks make what they measure: blocks of the size, a chain to the last one."""

import pytest

from lockstep.bench.block_apply import measure_blocks
from lockstep.bench.block_network import PARTS, BlockNetwork
from lockstep.bench.ledger import make_variants
from lockstep.bench.sync_apply import VERIFYING, follow
from lockstep.crypto.keys import SodiumVerifier
from lockstep.errors import Misuse
from lockstep.primitives.codec import encode
from lockstep.replica.blockpages import WrongBlock


def test_all_payments_of_a_block_stand_in_one_and_every_part_takes_time() -> None:
    network = BlockNetwork(SodiumVerifier(), payments=420)
    network.decide(10)
    network.decide(410)
    sizes = [len(record.delta.txids) for record in network.records]
    assert [size for size in sizes if size > 1] == [10, 410]
    assert all(sample[part] > 0 for sample in network.samples for part in PARTS)


def test_a_block_that_takes_only_some_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    network = BlockNetwork(SodiumVerifier(), payments=10)
    monkeypatch.setattr(network._network, "submit", lambda *_: None)
    with pytest.raises(Misuse, match="10 payments came into blocks of"):
        network.decide(10)


def test_the_parts_add_up_to_the_whole() -> None:
    figures = measure_blocks(SodiumVerifier(), size=20, blocks=1)
    assert set(figures) == {f"20.{part}" for part in (*PARTS, "all")}
    whole = sum(figures[f"20.{part}"].cpu for part in PARTS)
    assert figures["20.all"].cpu == pytest.approx(whole, abs=0.01)


def test_a_follower_comes_to_the_tip_and_a_chain_with_a_gap_stops_it() -> None:
    verifier = SodiumVerifier()
    network = BlockNetwork(verifier, payments=20)
    network.decide(20)
    blocks = [encode(record.decided) for record in network.records]
    assert follow(network.genesis, blocks, verifier)[VERIFYING] > 0
    with pytest.raises(WrongBlock):
        follow(network.genesis, blocks[1:], verifier)


def test_every_rule_of_the_ledger_is_measured_on_blocks_that_pass() -> None:
    for variant in make_variants([3]).values():
        assert variant.items == 3
        variant.work()
