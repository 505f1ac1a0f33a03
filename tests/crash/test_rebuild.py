"""A store made anew from the decided blocks is the store that lived through them [T8, T9].

The chain is a simulated one, of real replicas. One store takes what its node recorded, commit by
commit, and is opened anew at heights drawn from the seed; another takes the blocks alone, judged by
the ledger's own rules over its own coins. At each of the heights both answer the same.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from crash.made_commits import chain_of
from crash.storm import choose_seed
from lockstep.crypto.keys import Verifier
from lockstep.ledger.blocks import AssembledBlock, check_block, is_closing_height
from lockstep.ledger.folding import CoinFolding
from lockstep.ledger.rewards import verify_coinbase
from lockstep.ledger.state import ChainState
from lockstep.primitives.committee import Committee
from lockstep.primitives.genesis import Genesis, genesis_committee
from lockstep.primitives.messages import DecidedBlock
from lockstep.replica.effects import BlockDecided, Record
from lockstep.replica.witnesses import verify_transaction
from lockstep.sim.disk import Disk
from lockstep.sim.options import Options
from lockstep.sim.world import World
from lockstep.storage.store import Store

HEIGHTS = 50
HEIGHTS_LONG = 200
"""Compared heights; a world of 60 or 180 seconds has so many blocks, whatever befalls it."""


class TapedDisk(Disk):
    """A disk that remembers what it was given."""

    taken: list[Record]

    def commit(self, records: Iterable[Record]) -> None:
        taken = list(records)
        self.taken.extend(taken)
        super().commit(taken)


def live(seed: int, *, seconds: int, payments: int) -> tuple[World, list[Record]]:
    """Return a world that has run, and what one of its nodes recorded, crashes included."""
    world = World(seed, Options(seconds=seconds, closing_every=4, payments=payments, crashes=4))
    disk = world.hosts[0].disk = TapedDisk(world.genesis)
    disk.taken = []
    outcome = world.run()
    assert outcome.verdict == "pass", outcome
    return world, disk.taken


class Rebuilt:
    """A store that is fed with decided blocks alone."""

    def __init__(self, directory: Path, genesis: Genesis, verifier: Verifier) -> None:
        directory.mkdir()
        self._directory, self._genesis, self._verifier = directory, genesis, verifier
        self._committee: Committee = genesis_committee(genesis)
        Store.create(directory, genesis, voting_key=None)
        self.store = Store.open(directory, genesis, voting_key=None)
        self._readers = self.store.readers()

    def follow(self, decided: DecidedBlock) -> None:
        """Judge a block over the coins of the store, and commit it."""
        block = decided.block
        chain_id, verifier = self._genesis.chain_id, self._verifier
        transactions = tuple(
            verify_transaction(row, chain_id=chain_id, verifier=verifier)
            if row.body.inputs
            else verify_coinbase(row)
            for row in block.transactions
        )
        state = self.store.load_state()
        assembled = AssembledBlock(
            block.header,
            block.previous_commit,
            transactions,
            block.justification,
            block.evidence,
        )
        delta, after = check_block(
            assembled,
            genesis=self._genesis,
            state=state,
            committee=self._committee,
            previous_committee=self._committee if state.height else None,
            view=self._readers,
            verifier=verifier,
            certified=True,
            coins_sum=self._settled_sum(state, block.header.height),
        )
        closes = block.header.is_closing
        self.store.commit(
            [BlockDecided(assembled, decided.certificate, delta, after, None, closes, (), ())]
        )
        self._readers.renew()

    def _settled_sum(self, state: ChainState, height: int) -> bytes | None:
        """Return the sum that a closing block commits to, from what the store has kept [S1]."""
        if not is_closing_height(height, self._genesis.closing_every):
            return None
        folding = CoinFolding(state)
        for delta in self._readers.deltas():
            folding.add(delta)
            if is_closing_height(delta.height, self._genesis.closing_every):
                folding.close()
        return folding.settled()

    def reopen(self) -> None:
        """Close the store and open it again."""
        self.store.close()
        self.store = Store.open(self._directory, self._genesis, voting_key=None)
        self._readers = self.store.readers()


def split(records: list[Record], dice: random.Random) -> Iterator[list[Record]]:
    """Yield the records in commits; none goes on after a block."""
    group: list[Record] = []
    for record in records:
        group.append(record)
        if isinstance(record, BlockDecided) or dice.random() < 0.1:
            yield group
            group = []
    yield group


def run_rebuild(tmp_path: Path, *, heights: int, seconds: int) -> None:
    seed = choose_seed()
    dice = random.Random(seed)
    world, records = live(seed, seconds=seconds, payments=4 * heights)
    tip = sum(isinstance(record, BlockDecided) for record in records)
    chosen = set(dice.sample(range(1, tip + 1), heights))
    voting_key = world.genesis.members[0].voting_key
    lived, model = tmp_path / "lived", Disk(world.genesis)
    lived.mkdir()
    Store.create(lived, world.genesis, voting_key=voting_key)
    store = Store.open(lived, world.genesis, voting_key=voting_key)
    rebuilt = Rebuilt(tmp_path / "rebuilt", world.genesis, world._verifier)
    compared = 0
    for group in split(records, dice):
        store.commit(group)
        model.commit(group)
        if not group or not isinstance(group[-1], BlockDecided):
            continue
        rebuilt.follow(group[-1].decided)
        if group[-1].state.height in chosen:
            store.close()
            store = Store.open(lived, world.genesis, voting_key=voting_key)
            if dice.random() < 0.5:
                rebuilt.reopen()
            assert store.load_state() == rebuilt.store.load_state() == model.state
            assert chain_of(store) == chain_of(rebuilt.store)
            assert store.load_journal() == model.journal()
            assert rebuilt.store.load_journal() == []
            compared += 1
    sys.stdout.write(f"heights compared={compared} of {tip}, payments={len(model._heights)}\n")
    assert compared == heights
    assert len(model._heights) > 2 * heights
    store.close()
    rebuilt.store.close()


@pytest.mark.slow
def test_a_store_rebuilt_from_blocks_is_the_one_that_lived(tmp_path: Path) -> None:
    run_rebuild(tmp_path, heights=HEIGHTS, seconds=60)


@pytest.mark.long
def test_a_store_rebuilt_from_blocks_is_the_one_that_lived_at_many_heights(tmp_path: Path) -> None:
    run_rebuild(tmp_path, heights=HEIGHTS_LONG, seconds=180)
