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
COUNTS = (1, 1, 2, 1, 4)
"""How many nodes are killed at once, in turn; four is a power cut in the one house of them all."""


def run_kills(directory: Path, *, cycles: int) -> None:
    storm = Storm(directory, seed=choose_seed())

    async def harm() -> None:
        for number in range(cycles):
            await asyncio.sleep(storm.dice.uniform(0, PAUSE_S_MAX))
            chosen = storm.dice.sample(storm.nodes, COUNTS[number % len(COUNTS)])
            await storm.kill(chosen)
            await storm.start(chosen)

    facts = storm.run_under(harm)
    sys.stdout.write(f"{storm.describe(facts)}\n")
    assert facts["broken"] == []
    assert storm.kills == cycles * sum(COUNTS) // len(COUNTS)
    assert facts["closing_blocks"] >= cycles // 4
    assert storm.finals_asked >= 20 * cycles


@pytest.mark.alone
def test_killed_processes_come_back_and_keep_their_word(tmp_path: Path) -> None:
    run_kills(tmp_path / "net", cycles=20)


@pytest.mark.long
def test_a_hundred_kills(tmp_path: Path) -> None:
    run_kills(tmp_path / "net", cycles=100)
