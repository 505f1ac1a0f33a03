"""The commitment follows the coins, however they changed, and its bytes are frozen [S1]."""

import json
import os
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from building import (
    RICH,
    Chain,
    genesis_coins,
    lock_of,
    make_genesis,
    output_of,
    pay,
    sum_coins,
)
from lockstep.crypto.lattice_hash import EMPTY_SUM
from lockstep.errors import Misuse
from lockstep.ledger import folding
from lockstep.ledger.blocks import make_block
from lockstep.ledger.coins import Coin, CoinDelta
from lockstep.ledger.commitment import (
    add_coins,
    genesis_sum,
    make_registry_root,
    make_state_commitment,
)
from lockstep.ledger.folding import CoinFolding, rebuild_delta
from lockstep.ledger.rules import UnknownCoin
from lockstep.ledger.settlement import due_commitment
from lockstep.ledger.state import initial_state
from unit.primitives import specimens as the

FROZEN: Final = Path(__file__).parents[2] / "vectors" / "state-commitment.json"
GENESIS: Final = make_genesis((1, 1, 1, 1), coins=6, closing_every=4)
OTHER: Final = bytes(range(32))


def make_vectors() -> dict[str, str]:
    """Return the sum of each genesis coin, of all, and what is made of it."""
    genesis = the.GENESIS
    coins = genesis_coins(genesis).coins
    found = {
        f"sum of genesis coin {place}": add_coins(EMPTY_SUM, created=[named]).hex()
        for place, named in enumerate(coins.items())
    }
    root = make_registry_root(genesis, epoch=0, evidence_used=())
    used = make_registry_root(genesis, epoch=7, evidence_used=((3, OTHER), (7, bytes(32))))
    total = genesis_sum(genesis)
    return {
        **found,
        "sum of all genesis coins": total.hex(),
        "registry root of genesis": root.hex(),
        "registry root with evidence used": used.hex(),
        "commitment to genesis": make_state_commitment(
            genesis, coins_sum=total, registry_root=root, issued=0, burnt=0
        ).hex(),
        "commitment to a later state": make_state_commitment(
            genesis, coins_sum=total, registry_root=used, issued=10**10, burnt=12
        ).hex(),
    }


def test_bytes_are_those_frozen() -> None:
    """[S1, L8] `REWRITE=1` writes the file anew."""
    found = make_vectors()
    if os.environ.get("REWRITE") == "1":
        FROZEN.write_text(json.dumps(found, indent=1) + "\n")
    assert json.loads(FROZEN.read_text()) == found


def test_everything_of_the_state_is_committed_to() -> None:
    """[S1] All but the height that made a coin, which the clause leaves out."""
    good = {
        "coins_sum": genesis_sum(GENESIS),
        "registry_root": make_registry_root(GENESIS, epoch=0, evidence_used=()),
        "issued": 5,
        "burnt": 3,
    }
    bad = {"coins_sum": EMPTY_SUM, "registry_root": OTHER, "issued": 6, "burnt": 4}
    commitment = make_state_commitment(GENESIS, **good)  # type: ignore[arg-type]  # By name.
    others = [
        make_state_commitment(GENESIS, **(good | {name: value}))  # type: ignore[arg-type]  # By name.
        for name, value in bad.items()
    ]
    slower = replace(GENESIS, idle_interval_ms=GENESIS.idle_interval_ms + 1)
    others.append(make_state_commitment(slower, **good))  # type: ignore[arg-type]  # By name.
    assert len({commitment, *others}) == 6
    outpoint, coin = next(iter(genesis_coins(GENESIS).coins.items()))
    total = add_coins(EMPTY_SUM, created=[(outpoint, coin)])
    assert add_coins(EMPTY_SUM, created=[(outpoint, replace(coin, height=9))]) == total
    for changed in (replace(coin, amount=coin.amount + 1), replace(coin, lock=OTHER)):
        assert add_coins(EMPTY_SUM, created=[(outpoint, changed)]) != total


class Ledger:
    """Coins that come and go, and the naive sums of the whole set."""

    def __init__(self) -> None:
        self.coins = dict(genesis_coins(GENESIS).coins)
        self.height = 0
        self.made = 0

    def change(self, spent: int, created: int) -> CoinDelta:
        self.height += 1
        outpoints = list(self.coins)[:: max(1, len(self.coins) // (spent + 1))][:spent]
        gone = tuple((outpoint, self.coins.pop(outpoint)) for outpoint in outpoints)
        new = []
        for _ in range(created):
            self.made += 1
            coin = Coin(1_000 + self.made, OTHER, self.height)
            new.append((self.made.to_bytes(36, "big"), coin))
        self.coins.update(new)
        return CoinDelta(self.height, tuple(new), gone, ())


steps = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 9), st.booleans()), max_size=30
)


@given(steps, st.integers(1, 40))
def test_folding_gives_the_sum_of_the_whole_set(
    blocks: list[tuple[int, int, int, bool]], gathered_max: int
) -> None:
    """[S1] Whatever is folded early, late, in slices, or in pieces of a long epoch."""
    ledger, state = Ledger(), initial_state(GENESIS)
    folded = CoinFolding(state)
    settled = sum_coins(ledger.coins)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folding, "GATHERED_MAX", gathered_max)
        for spent, created, slice_size, closes in blocks:
            folded.add(ledger.change(spent, created))
            if slice_size and folded.has_work:
                folded.fold(slice_size)
            if closes:
                assert folded.settled() == settled
                folded.close()
                settled = sum_coins(ledger.coins)
        assert folded.settled() == settled


def test_slices_are_bounded_and_what_cancels_out_is_not_folded() -> None:
    """[S1] Of 50 coins made, 50 spent in the same epoch leave only the older ones' change."""
    ledger, folded = Ledger(), CoinFolding(initial_state(GENESIS))
    assert folded.due == 0
    folded.add(ledger.change(0, 50))
    folded.add(ledger.change(40, 0))
    assert folded.due == 0
    folded.close()
    left = len(ledger.coins) - len(GENESIS.coins) + 2 * (len(GENESIS.coins) - genesis_left(ledger))
    assert folded.due == 50 + 40
    folded.fold(1)
    assert folded.due == 50 + 40  # A slice took in the block of 50, and no second one.
    folded.fold(1)
    assert folded.due == left - 1 < 50
    while folded.has_work:
        before = folded.due
        folded.fold(3)
        assert folded.due == max(0, before - 3)
    assert folded.settled() == sum_coins(ledger.coins)


def genesis_left(ledger: Ledger) -> int:
    return sum(outpoint in ledger.coins for outpoint in genesis_coins(GENESIS).coins)


def test_an_epoch_does_not_end_before_its_sum_is_known() -> None:
    ledger, folded = Ledger(), CoinFolding(initial_state(GENESIS))
    folded.add(ledger.change(1, 2))
    folded.close()
    with pytest.raises(Misuse):
        folded.close()


@pytest.mark.parametrize("height", [3, 4])
def test_block_and_what_it_spent_give_its_changes(height: int) -> None:
    """[S1, D2] As a restart reads them, coinbase and chained payments included."""
    chain = Chain(GENESIS)
    chain.grow(height - 1)
    chain_id = GENESIS.chain_id
    first = pay([(chain.coin(0), 0)], [(RICH - 10_000, lock_of(1))], chain_id=chain_id)
    child = pay([(output_of(first), 1)], [(RICH - 20_000, lock_of(2))], chain_id=chain_id)
    block = chain.assemble([first, child], fees=20_000)
    delta = chain.add(block)
    assert len(delta.spent) == 1
    rebuilt = rebuild_delta(make_block(block), delta.spent)
    assert dict(rebuilt.created) == dict(delta.created)
    assert (rebuilt.spent, rebuilt.txids) == (delta.spent, delta.txids)
    with pytest.raises(UnknownCoin):
        rebuild_delta(make_block(block), ())


def test_a_closing_block_commits_to_the_state_above_the_one_before() -> None:
    """[S1] The first one to genesis; issued and burnt are those of that state too."""
    chain = Chain(GENESIS)
    genesis = due_commitment(GENESIS, initial_state(GENESIS), sum_coins(chain.view.coins))
    chain.grow(4)
    assert chain.state.state_commitment == genesis
    assert (chain.state.summed_height, chain.state.coins_sum) == (0, genesis_sum(GENESIS))
    state, coins = chain.state, dict(chain.view.coins)
    chain.grow(4)
    assert chain.state.state_commitment == due_commitment(GENESIS, state, sum_coins(coins))
    assert (chain.state.summed_height, chain.state.coins_sum) == (4, sum_coins(coins))
    with pytest.raises(Misuse):
        due_commitment(GENESIS, state, None)
