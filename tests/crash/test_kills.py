"""kill -9 of real processes under load: nothing final is lost, nobody contradicts himself [D1, D2].

One node, two, or all four at once, at any moment of an epoch. Run again with the seed printed:
`LOCKSTEP_CRASH_SEED=N`.
"""

import asyncio
import sys
from pathlib import Path

import pytest

from crash.storm import Storm, choose_seed

PAUSE_S_MAX = 1.2


def run_kills(directory: Path, *, cycles: int) -> None:
    storm = Storm(directory, seed=choose_seed())
    kinds = {1: 0, 2: 0, 4: 0}

    async def harm() -> None:
        for number in range(cycles):
            await asyncio.sleep(storm.dice.uniform(0, PAUSE_S_MAX))
            # Every fifth cycle is a power cut in the one house where all nodes stand.
            count = 4 if number % 5 == 4 else storm.dice.choice((1, 1, 2))
            chosen = storm.dice.sample(storm.nodes, count)
            await storm.kill(chosen)
            await storm.start(chosen)
            kinds[count] += 1

    facts = storm.run_under(harm)
    sys.stdout.write(f"{storm.describe(facts)} kinds={kinds}\n")
    assert facts["broken"] == []
    assert storm.kills >= cycles
    assert all(kinds.values())
    assert facts["closing_blocks"] >= cycles // 4
    assert storm.finals_asked >= 20 * cycles


@pytest.mark.alone
def test_killed_processes_come_back_and_keep_their_word(tmp_path: Path) -> None:
    run_kills(tmp_path / "net", cycles=20)


@pytest.mark.long
def test_a_hundred_kills(tmp_path: Path) -> None:
    run_kills(tmp_path / "net", cycles=100)
