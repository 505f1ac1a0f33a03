"""What was acknowledged survives kill -9; what was not is there whole or not at all [D1, D2]."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.storage.faults import DirectoryLocked
from lockstep.storage.store import Store
from unit.storage import kill_worker
from unit.storage.journal_model import JournalModel, essence
from unit.storage.kill_worker import VOTING_KEY, make_commits
from unit.storage.made_chain import MadeChain, make_genesis

CYCLES = 8


def start(directory: Path, done: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, kill_worker.__file__, str(directory), str(done)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


@pytest.mark.slow
def test_acknowledged_commits_survive_kill(tmp_path: Path) -> None:
    chain = MadeChain(make_genesis(200), seed=3)
    commits = make_commits(chain)
    model = JournalModel()
    Store.create(tmp_path, chain.genesis, voting_key=VOTING_KEY)
    done = in_flight = 0
    for cycle in range(CYCLES):
        process = start(tmp_path, done)
        assert process.stdout is not None
        wanted = random.randrange(1, 12)
        acknowledged = [process.stdout.readline() for _ in range(wanted)]
        if cycle == 0:
            with pytest.raises(DirectoryLocked, match=str(process.pid)):
                Store.open(tmp_path, chain.genesis, voting_key=VOTING_KEY)
        process.kill()
        said = [*acknowledged, *process.communicate()[0].splitlines()]
        last = max(int(line) for line in said)
        assert last >= done + wanted

        store = Store.open(tmp_path, chain.genesis, voting_key=VOTING_KEY)
        while done < last:
            model.commit(next(commits))
            done += 1
        if not is_at(store, chain, model):
            # One commit may have reached the disk without a word of it.
            model.commit(next(commits))
            done += 1
            in_flight += 1
        assert is_at(store, chain, model)
        store.close()
    assert done > CYCLES


def is_at(store: Store, chain: MadeChain, model: JournalModel) -> bool:
    """Tell whether everything the database holds is what these commits leave."""
    readers = store.readers()
    journal = [essence(record) for record in store.load_journal()]
    holds = journal == model.expected() and store.load_state() == chain.state
    if holds and chain.blocks:
        assert store.load_tip() == chain.blocks[-1].decided
        assert dict(readers.all_coins()) == chain.coins
    readers.close()
    return holds
