"""Whose turn it is to close an epoch: everybody's, also where the set's size divides K [T1]."""

from collections import Counter

from lockstep.sim.options import Options
from lockstep.sim.world import World


def test_every_member_closes_epochs_though_four_divides_k() -> None:
    world = World(1, Options(closing_every=4, payments=20, seconds=60))
    assert world.run().sentence == ""
    closings = [d.block.header for d in world.hosts[0].disk.blocks if d.block.header.is_closing]
    turns = Counter(header.proposer for header in closings)
    assert len(closings) >= 8
    assert len(turns) == 4
    assert max(turns.values()) <= len(closings) // 4 + 2
