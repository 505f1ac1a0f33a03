"""A process that ends at any named point of any durable step is whole again at its next start.

The store's own points, in child processes of the real store: all it acknowledged is there, and what
it did not is there whole or not at all. Every point that a running node reaches, in a real node of
a real network: it is level again within 20 s, keeps its word, and contradicts itself nowhere [2.6].
"""

import asyncio
import random
import re
import sys
from collections import Counter, defaultdict
from itertools import zip_longest
from pathlib import Path

import pytest

from crash.armed_program import EXIT_CRASHED
from crash.bench import Bench
from crash.made_commits import GENESIS, VOTING_KEY, MadeCommits
from crash.points import named_points
from crash.storm import Storm, choose_seed
from lockstep.node.config import MissingFile, load_config
from lockstep.node.datadir import load_genesis, load_voting_key
from lockstep.storage.store import Store

POINTS_MIN = 20
MOMENTS = 3
COMMITS_MAX = 60
PAGE = Path(__file__).resolve().parents[2] / "docs" / "internals" / "crash.md"

INIT_POINTS = (
    "init.settings.after",
    "init.node_key.after",
    "init.voting_key.after",
    "create.directory.after",
    "create.index.after",
    "create.sync.before",
    "create.database.after",
    "create.rename.before",
    "create.rename.after",
    "init.chain.after",
    "init.rename.before",
    "init.rename.after",
)
RARE_POINTS = ("commit.evidence.after", "commit.amnesia.after", "commit.recovery.after")
"""What a node without faults around it does not reach; the store does, in a child process."""
CHAIN_POINTS = (
    "commit.begin.before",
    "commit.batch.after",
    "commit.vote.after",
    "commit.confirm.after",
    "commit.final.after",
    "commit.round.after",
    "commit.trim.after",
    "commit.epoch.after",
    "commit.drop.after",
    "commit.freeze.after",
    "commit.index.after",
    "commit.block.after",
    "commit.state.after",
    "commit.sync.before",
    "commit.sync.after",
    "commit.witness.after",
)
FLUSH_POINTS = (
    "flush.begin.before",
    "flush.spent.after",
    "flush.made.after",
    "flush.index.after",
    "flush.sync.before",
    "flush.sync.after",
)
START_POINTS = (
    "lock.pid.before",
    "open.lock.after",
    "open.witness.unclean",
    "open.check.after",
    "open.store.after",
    "runtime_file.rename.before",
    "runtime_file.rename.after",
)
STOP_POINTS = (
    "stop.begin.after",
    "stop.core.after",
    "runtime_file.remove.after",
    "close.database.after",
    "close.witness.after",
)
RUNNING_POINTS = (
    *CHAIN_POINTS,
    *FLUSH_POINTS,
    "release.commit.landed",
    "release.readers.renewed",
    "release.broadcast.after",
    "release.notice.after",
)
MOMENT_OF = {
    **dict.fromkeys(START_POINTS, "start"),
    **dict.fromkeys(FLUSH_POINTS, "flush"),
    **dict.fromkeys(STOP_POINTS, "stop"),
}
NODE_POINTS = (*START_POINTS, *STOP_POINTS, *RUNNING_POINTS)


def test_every_point_is_described_and_crashed_at() -> None:
    points = named_points()
    assert len(points) >= POINTS_MIN
    assert points == {*INIT_POINTS, *NODE_POINTS, *RARE_POINTS}
    described = set(
        re.findall(r"^\| `([a-z_]+\.[a-z_]+\.[a-z_]+)` \|", PAGE.read_text(), re.MULTILINE)
    )
    assert described == points


@pytest.mark.slow
def test_the_store_is_whole_after_a_crash_at_any_of_its_points(tmp_path: Path) -> None:
    """Each point of a commit and of a flush, at three heights of one chain."""
    dice = random.Random(choose_seed())
    made = MadeCommits()
    crashes: Counter[str] = Counter()
    heights: dict[str, set[int]] = defaultdict(set)
    # One order, gone round three times: the moments of a point are never side by side, where the
    # chain might not have grown between them.
    order = sorted({*CHAIN_POINTS, *FLUSH_POINTS, *RARE_POINTS})
    dice.shuffle(order)
    sites = order * MOMENTS
    done = under_way = 0
    Store.create(tmp_path, GENESIS, voting_key=VOTING_KEY)
    with Bench() as bench:
        for site in sites:
            times = dice.randrange(1, 4)
            code, said = bench.ask("write", str(tmp_path), done, COMMITS_MAX, site, times)
            assert code == EXIT_CRASHED, (site, said)
            while made.taken < max([done, *map(int, said)]):
                made.take()
            _, (verdict,) = bench.ask("digest", str(tmp_path))
            if verdict != made.digest():
                # The commit that was under way may be there, but then all of it.
                made.take()
                assert verdict == made.digest(), site
                under_way += 1
            done = made.taken
            crashes[site] += 1
            heights[site].add(done // 3)
    sys.stdout.write(f"{crashes.total()} crashes, {done} commits, {under_way} under way kept\n")
    assert crashes == dict.fromkeys(sites, MOMENTS)
    assert min(len(seen) for seen in heights.values()) == MOMENTS


@pytest.mark.slow
def test_an_init_that_crashed_anywhere_is_begun_again(tmp_path: Path) -> None:
    """With a voting key, without one, and after two crashes in a row: three moments a point."""
    crashes = 0
    with Bench() as bench:
        for site in sorted(INIT_POINTS):
            for follow, times in ((False, 1), (True, 1), (False, 2)):
                if follow and site == "init.voting_key.after":
                    continue
                place = tmp_path / f"{site}.{follow}.{times}"
                for _ in range(times):
                    assert bench.ask("init", str(place), site, 1, follow) == (EXIT_CRASHED, [])
                    crashes += 1
                    if (place / "lockstep.toml").exists():
                        break
                else:
                    with pytest.raises(MissingFile):
                        load_config(place, environment={}, flags={})
                    assert bench.ask("init", str(place), "", 0, follow) == (0, ["made"])
                assert_is_a_node(place, follow=follow)
    assert crashes >= MOMENTS * len(INIT_POINTS)


def assert_is_a_node(place: Path, *, follow: bool) -> None:
    """Hold that a node can start here, and vote if it has a key: its journal is that key's own."""
    load_config(place, environment={}, flags={})
    genesis = load_genesis(place, "devnet")
    key = load_voting_key(place)
    assert (key is None) == follow
    store = Store.open(place, genesis, voting_key=None if key is None else key.public_key)
    assert not store.has_amnesia
    assert store.load_state().height == 0
    store.close()


def run_nodes(directory: Path, *, moments: int) -> None:
    """Crash real nodes at every point a node reaches, `moments` times each."""
    storm = Storm(directory, seed=choose_seed())
    crashes: Counter[str] = Counter()
    sites = [*NODE_POINTS] * moments
    storm.dice.shuffle(sites)

    async def harm() -> None:
        # Two nodes at a time, so that now and then nobody is left who could decide.
        for pair in zip_longest(sites[::2], sites[1::2]):
            chosen = storm.dice.sample(storm.nodes, sum(site is not None for site in pair))
            aims = list(zip(chosen, filter(None, pair), strict=True))
            await asyncio.gather(
                *(storm.crash(node, site, MOMENT_OF.get(site, "work")) for node, site in aims)
            )
            await storm.start(chosen)
            crashes.update(site for _, site in aims)

    facts = storm.run_under(harm)
    sys.stdout.write(f"{storm.describe(facts)} crashes={crashes.total()}\n")
    assert facts["broken"] == []
    assert crashes == dict.fromkeys(NODE_POINTS, moments)
    assert storm.cycles >= crashes.total() >= POINTS_MIN


@pytest.mark.alone
def test_a_node_that_crashed_at_any_point_is_level_again(tmp_path: Path) -> None:
    run_nodes(tmp_path / "net", moments=1)


@pytest.mark.long
def test_a_node_that_crashed_at_any_point_at_three_heights(tmp_path: Path) -> None:
    run_nodes(tmp_path / "net", moments=MOMENTS)
