"""Flipped bits are found and never served [D4]: random ones, anywhere in the data file."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lockstep.primitives.codec import encode
from lockstep.storage.directory import WITNESS_FILE, Witness
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.soundness import check_pages
from lockstep.storage.store import Store
from unit.storage import damage_worker
from unit.storage.damage_worker import VOTING_KEY, grow_chain

FLIPS = 250
DATA_FILES = ("data.mdb", "index/data.mdb")
PAGE_BYTES = 4096
PAGE_HEAD_BYTES = 64


class Worker:
    """A process that reads damaged databases; started again when one kills it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = self.start()

    def start(self) -> "subprocess.Popen[str]":
        places = [str(path) for path in sys.path if path]
        return subprocess.Popen(
            [sys.executable, damage_worker.__file__, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        )

    def ask(self, name: str, offset: int, mask: int) -> str:
        """Return the verdict on this flip, or an empty line if it killed the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{name} {offset} {mask}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return the data directory of a chain with journal, blocks and coins."""
    chain, commits = grow_chain()
    Store.create(tmp_path, chain.genesis, voting_key=VOTING_KEY)
    store = Store.open(tmp_path, chain.genesis, voting_key=VOTING_KEY)
    for records in commits:
        store.commit(records)
    store.close()
    return tmp_path


@pytest.mark.slow
def test_flipped_bits_are_found_or_harmless(written: Path) -> None:
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    whole = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    worker = Worker(written)
    verdicts: Counter[str] = Counter()
    for number in range(FLIPS):
        name = DATA_FILES[number // 2 % 2]
        data = written / "chain" / name
        good = data.read_bytes()
        # Half of them hit the heads of pages, where the shape of the tree stands.
        within = dice.randrange(PAGE_HEAD_BYTES if number % 2 else PAGE_BYTES)
        offset = dice.randrange(len(good) // PAGE_BYTES) * PAGE_BYTES + within
        mask = 1 << dice.randrange(8)
        verdict = worker.ask(name, offset, mask)
        if not verdict:
            # The page ended the process; the next start looks at the pages first and finds why.
            worker.process.communicate()
            assert not Witness(written / "chain").is_clean
            assert worker.process.returncode < 0, f"seed={seed} {name} {offset} {mask}"
            with pytest.raises(CorruptedRecord):
                check_pages(data.parent)
            # Both databases and the witness, for the one that died may have written to them.
            for path, content in whole.items():
                path.write_bytes(content)
            worker, verdict = Worker(written), "died, refused"
        assert not verdict.startswith("served"), f"seed={seed} {name} {offset} {mask}"
        verdicts[" ".join(verdict.split()[:2])] += 1
    worker.close()
    assert set(verdicts) <= {"unharmed", "refused storage.corrupted", "died, refused"}
    assert verdicts["refused storage.corrupted"] > FLIPS // 8, verdicts


@pytest.mark.parametrize("table", ["coins", "transactions", "locks"])
def test_page_that_lost_a_row_is_refused(written: Path, table: str) -> None:
    """The rows that are left are good, and only counting them shows that one is missing."""
    chain, _ = grow_chain()
    outpoint, coin = min(chain.coins.items())
    txid, (_, height, position) = min(chain.places.items())
    key = {
        "coins": outpoint + encode(coin),
        "locks": coin.lock + outpoint,
        "transactions": txid + height.to_bytes(8, "big") + position.to_bytes(4, "big"),
    }[table]
    path = written / "chain" / "index" / "data.mdb"
    data = bytearray(path.read_bytes())
    at = data.find(key)
    while at >= 0:
        page = at - at % PAGE_BYTES
        lower = int.from_bytes(data[page + 12 : page + 14], "little")
        data[page + 12 : page + 14] = (lower - 2).to_bytes(2, "little")
        at = data.find(key, page + PAGE_BYTES)
    path.write_bytes(data)
    with pytest.raises(CorruptedRecord):
        Store.open(written, chain.genesis, voting_key=VOTING_KEY)


def test_older_database_is_refused(written: Path) -> None:
    """A journal that forgot its last commit could sign against it: the witness tells [D3]."""
    data = written / "chain" / "data.mdb"
    chain, _ = grow_chain()
    older = data.read_bytes()
    store = Store.open(written, chain.genesis, voting_key=VOTING_KEY)
    store.commit([chain.own_vote()])
    store.close()
    data.write_bytes(older)
    with pytest.raises(CorruptedRecord, match="an older database has come back"):
        Store.open(written, chain.genesis, voting_key=VOTING_KEY)


@pytest.mark.parametrize("damage", ["missing", "flipped", "short"])
def test_damaged_witness_is_refused(written: Path, damage: str) -> None:
    witness = written / "chain" / WITNESS_FILE
    row = witness.read_bytes()
    if damage == "missing":
        witness.unlink()
    else:
        witness.write_bytes(row[:-1] if damage == "short" else bytes([row[0] ^ 1]) + row[1:])
    with pytest.raises(CorruptedRecord, match="witness"):
        Store.open(written, grow_chain()[0].genesis, voting_key=VOTING_KEY)


def test_lagging_witness_is_what_a_power_cut_leaves(written: Path) -> None:
    witness = written / "chain" / WITNESS_FILE
    chain, _ = grow_chain()
    store = Store.open(written, chain.genesis, voting_key=VOTING_KEY)
    older = witness.read_bytes()
    store.commit([chain.own_vote()])
    store.close()
    witness.write_bytes(older)
    Store.open(written, chain.genesis, voting_key=VOTING_KEY).close()


@pytest.mark.parametrize("name", DATA_FILES)
def test_file_that_is_no_database_is_refused(written: Path, name: str) -> None:
    (written / "chain" / name).write_bytes(b"not a database" * 1000)
    with pytest.raises(CorruptedRecord):
        Store.open(written, grow_chain()[0].genesis, voting_key=VOTING_KEY)
