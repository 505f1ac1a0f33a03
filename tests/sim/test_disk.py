"""The simulated disk keeps what the real store keeps, or recovery is proved against a fiction."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from lockstep.replica.effects import BlockDecided, Record
from lockstep.sim.disk import Disk
from lockstep.sim.options import Options
from lockstep.sim.world import World
from lockstep.storage.store import Store


class TapedDisk(Disk):
    """A disk that remembers what it was given."""

    taken: list[Record]

    def commit(self, records: Iterable[Record]) -> None:
        taken = list(records)
        self.taken.extend(taken)
        super().commit(taken)


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_disk_answers_like_the_real_store(seed: int, tmp_path: Path) -> None:
    options = Options(seconds=12, closing_every=4, payments=60, conflict_percent=30)
    world = World(seed, options)
    disk = world.hosts[0].disk = TapedDisk(world.genesis)
    disk.taken = []
    assert world.run().verdict == "pass"
    assert sum(isinstance(record, BlockDecided) for record in disk.taken) > 8

    dice = Random(seed)
    voting_key = world.genesis.members[0].voting_key
    Store.create(tmp_path, world.genesis, voting_key=voting_key)
    store = Store.open(tmp_path, world.genesis, voting_key=voting_key)
    model = Disk(world.genesis)
    records = list(disk.taken)
    known = [*model.coins]
    while records:
        group = [records.pop(0) for _ in range(min(len(records), dice.randint(1, 40)))]
        store.commit(group)
        model.commit(group)
        known += [o for r in group if isinstance(r, BlockDecided) for o, _ in r.delta.created]
        if dice.random() < 0.3 or not records:
            store.close()
            store = Store.open(tmp_path, world.genesis, voting_key=voting_key)
            assert store.load_state() == model.state
            assert store.load_tip() == model.tip
            assert store.load_journal() == model.journal()
            assert store.readers().coins_of(known) == model.coins_of(known)
    store.close()
