"""Flipped bits in any file of a data directory: found, or harmless, and never served [D4].

A flip that is refused is refused with one sentence; what the sentence says to do is done here on a
network of real nodes, and the node comes back with everything.
"""

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from crash.bench import Bench, program_environment
from crash.storm import ArmedNode, Storm, choose_seed
from lockstep.node.config import COOKIE_FILE, LOG_FILE, RUNTIME_FILE

FLIPS = 160
FLIPS_LONG = 1_000
COMMITS = 75
DATA = "chain/data.mdb"
INDEX = "chain/index/data.mdb"
FILES = (
    *(
        "chain/commits",
        "chain/lock.mdb",
        "chain/index/lock.mdb",
        ".lock",
        "lockstep.toml",
        "genesis.json",
        "node.key",
    ),
    *("voting.key", RUNTIME_FILE, COOKIE_FILE, LOG_FILE),
)
PAGE_BYTES = 4096
PAGE_HEAD_BYTES = 64
STARTS = 6


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a node that has run, with everything that one leaves."""
    place = tmp_path_factory.mktemp("flips") / "node"
    with Bench() as bench:
        assert bench.ask("init", str(place), "", 0, False) == (0, ["made"])
        code, said = bench.ask("write", str(place), 0, COMMITS, "", 0)
        assert (code, len(said)) == (0, COMMITS)
    (place / "log").mkdir()
    (place / LOG_FILE).write_text('{"event":"up","level":"info"}\n' * 20)
    (place / RUNTIME_FILE).write_text('{"pid":1234,"p2p":1,"rpc":2,"metrics":3}\n')
    (place / COOKIE_FILE).write_text("__cookie__:0123456789abcdef")
    found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    assert found == {DATA, INDEX, *FILES}
    return place


def draw_flip(place: Path, number: int, dice: random.Random) -> tuple[str, int, int]:
    """Return a file, an offset and a mask: half of them in a database, half of those in heads.

    The files take turns, so that no seed leaves one out.
    """
    name = (DATA, INDEX)[number // 4 % 2] if number % 2 else FILES[number // 2 % len(FILES)]
    size = (place / name).stat().st_size
    if number % 4 == 1:
        offset = dice.randrange(size // PAGE_BYTES) * PAGE_BYTES + dice.randrange(PAGE_HEAD_BYTES)
    else:
        offset = dice.randrange(size)
    return name, offset, 1 << dice.randrange(8)


def flip(path: Path, offset: int, mask: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)


def judge(bench: Bench, place: Path, name: str, truth: list[str]) -> str:
    """Say what a start makes of a damaged directory, "served" where it is a lie."""
    code, said = bench.ask("start", str(place))
    if code != 0:
        # LMDB itself fell over a page. The next start looks at all pages first, and refuses.
        assert code < 0, f"exit code {code}"
        code, said = bench.ask("start", str(place))
        return "died, then " + said[0] if code == 0 and said[0].startswith("refused") else "died"
    if said[0].startswith("refused"):
        return said[0]
    if said == truth:
        return "harmless"
    # Settings are a person's own words: any that can be, may be meant.
    is_setting = name == "lockstep.toml" and said[1:] == truth[1:]
    return "other setting" if is_setting else "served"


def run_flips(written: Path, tmp_path: Path, flips: int) -> list[tuple[str, int, int]]:
    """Flip bits one at a time; return some flips that were refused."""
    dice = random.Random(choose_seed())
    place = tmp_path / "flipped"
    verdicts: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    refused: list[tuple[str, int, int]] = []
    with Bench() as bench:
        shutil.copytree(written, place)
        truth = bench.ask("start", str(place))[1]
        assert len(truth) == 2, truth
        shutil.rmtree(place)
        for number in range(flips):
            shutil.copytree(written, place)
            chosen = name, offset, mask = draw_flip(place, number, dice)
            flip(place / name, offset, mask)
            verdict = judge(bench, place, name, truth)
            assert verdict not in {"served", "died"}, f"{verdict}: {chosen}"
            verdicts[verdict] += 1
            hit[name] += 1
            if verdict.startswith("refused"):
                refused.append(chosen)
            shutil.rmtree(place)
    sys.stdout.write(f"flips={flips} {dict(verdicts)} {dict(hit)}\n")
    assert set(hit) == {DATA, INDEX, *FILES}
    assert sum(verdicts[key] for key in verdicts if "refused" in key) >= flips // 5
    assert verdicts["refused storage.corrupted"] >= flips // 16
    return refused


@pytest.mark.slow
def test_flips_in_any_file_are_found_or_harmless(written: Path, tmp_path: Path) -> None:
    refused = run_flips(written, tmp_path, FLIPS)
    for number, (name, offset, mask) in enumerate(refused[:: len(refused) // STARTS][:STARTS]):
        place = tmp_path / f"start{number}"
        shutil.copytree(written, place)
        flip(place / name, offset, mask)
        assert_refused_in_one_sentence(place)


@pytest.mark.long
def test_a_thousand_flips(written: Path, tmp_path: Path) -> None:
    run_flips(written, tmp_path, FLIPS_LONG)


def assert_refused_in_one_sentence(place: Path) -> None:
    """Start the real program on a damaged directory."""
    told = subprocess.run(
        [sys.executable, "-P", "-m", "lockstep", "node", "--dir", str(place)],
        env=program_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1, told
    error, hint = told.stderr.splitlines()
    assert error.startswith("error: ")
    assert error.endswith(")")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("name", ["node.key", "voting.key"])
def test_a_key_with_any_bit_flipped_is_refused(written: Path, tmp_path: Path, name: str) -> None:
    """A flip may turn a digit into another, and the key into another key."""
    place = tmp_path / "flipped"
    shutil.copytree(written, place)
    digits = (place / name).read_text()
    other = "1" if digits[0] != "1" else "2"
    (place / name).write_text(other + digits[1:])
    with Bench() as bench:
        code = {"node.key": "key.foreign", "voting.key": "storage.foreign_key"}[name]
        assert bench.ask("start", str(place)) == (0, [f"refused {code}"])


@pytest.mark.alone
def test_a_damaged_chain_is_fetched_anew_as_the_sentence_says(tmp_path: Path) -> None:
    """[D3, D4]: moved away, the chain comes from the peers, and the node votes again later."""
    storm = Storm(tmp_path / "net", seed=choose_seed())
    node = storm.nodes[1]

    async def harm() -> None:
        for _ in range(2):
            await storm.kill([node])
            await refuse(storm, node)
            (node.directory / "chain").rename(node.directory / f"chain.{storm.cycles}")
            await storm.start([node])

    facts = storm.run_under(harm)
    sys.stdout.write(f"{storm.describe(facts)}\n")
    assert facts["broken"] == []
    assert storm.cycles == 2
    assert storm.finals_asked > 0


async def refuse(storm: Storm, node: ArmedNode) -> None:
    """Damage the node's database until a start refuses it, as it is told in one sentence."""
    data = node.directory / DATA
    good = data.read_bytes()
    console = node.directory / "log" / "console.log"
    console.write_bytes(b"")
    for _ in range(5):
        damaged = bytearray(good)
        for page in range(2, len(good) // PAGE_BYTES):
            damaged[page * PAGE_BYTES + storm.dice.randrange(PAGE_BYTES)] ^= 1
        data.write_bytes(damaged)
        await node.start()
        node.is_wanted = False
        code = await node.wait_exit(timeout_s=10)
        if code == 1:
            error, hint = console.read_text().splitlines()
            assert error.endswith("(storage.corrupted)")
            assert "move its chain directory away and start again" in hint
            return
    raise AssertionError(f"no damage was found: {node.describe_exit()}")
