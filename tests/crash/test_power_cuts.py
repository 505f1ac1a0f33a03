"""Power cuts: images rebuilt from a trace of the real store's system calls [D1, D4].

Every image opens, holds every commit that was acknowledged before the cut, and holds the commit
under way whole or not at all. The same method finds a database that does not sync unusable, so it
is able to see what it looks for.
"""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from crash import store_program
from crash.bench import Bench
from crash.made_commits import digests
from crash.power_cut import MODES, Disk
from crash.storm import choose_seed
from crash.traced import Deed, Said, Written, trace_program

COMMITS = 240
IMAGES = 300
IMAGES_LONG = 5_000
CONTROL_IMAGES = 60
FLOORS = {"data.mdb lost": 8, "data.mdb torn": 8, "data.mdb short": 100, "names": 30}
"""Of how many images one at least must have lost something of this kind; no seed comes near."""
MODES_OF_GROWTH = ("prefix", "sectors")
"""How the power is cut where the database grows: as leaves a length behind three times in five."""
FILES = ("lockstep.toml", "genesis.json", "node.key", "voting.key")


@dataclass
class Trace:
    """The deeds of one traced life of a node's directory."""

    root: Path
    deeds: list[Deed]


def make_trace(tmp_path: Path, flags: str) -> Trace:
    root = tmp_path / f"traced-{flags}"
    root.mkdir()
    words = [store_program.__file__, "trace", str(root / "node"), str(COMMITS), flags]
    return Trace(root, trace_program(words, root, tmp_path / f"trace-{flags}"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Return a trace of the store as every node opens it."""
    return make_trace(tmp_path_factory.mktemp("plain"), "plain")


@pytest.mark.slow
def test_the_trace_misses_nothing(plain: Trace, tmp_path: Path) -> None:
    """All deeds together give the very files that the process left."""
    disk, said = Disk(plain.root), []
    for deed in plain.deeds:
        disk.take(deed)
        disk.settle_write(deed)
        said += [deed.line] if isinstance(deed, Said) else []
    assert said == [f"done {number}" for number in range(COMMITS + 1)]
    assert not disk.cut(tmp_path / "whole", random.Random(), mode="all")
    assert files_of(tmp_path / "whole") == files_of(plain.root)


def files_of(root: Path) -> dict[str, bytes]:
    """Return the content of every file, but the table of readers: that is shared memory."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != "lock.mdb"]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def judge_images(tmp_path: Path, trace: Trace, images: int) -> tuple[Counter[str], Counter[str]]:
    """Cut the power at moments drawn from the seed; return verdicts and what was lost."""
    dice = random.Random(choose_seed())
    truth = digests(COMMITS)
    verdicts: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    growing = grow_moments(trace)
    modes, modes_of_growth = cycle(MODES), cycle(MODES_OF_GROWTH)
    moments = sorted(draw_moments(trace, growing, images, dice))
    disk, taken, place = Disk(trace.root), 0, tmp_path / "image"
    with Bench() as bench:
        for moment in moments:
            while taken <= moment:
                if taken:
                    disk.settle_write(trace.deeds[taken - 1])
                disk.take(trace.deeds[taken])
                taken += 1
            mode = next(modes_of_growth if moment in growing else modes)
            losses.update(disk.cut(place, dice, mode=mode))
            verdict = judge(bench, place / "node", disk.said, trace.root / "node", truth)
            if verdict not in {"unmade", "kept", "under way"}:
                losses[f"moment {moment}, {disk.said}: {verdict}"] += 1
            verdicts[verdict] += 1
            shutil.rmtree(place)
    return verdicts, losses


def grow_moments(trace: Trace) -> list[int]:
    """Return the moments at which a database grows."""
    growing, sizes = [], Counter[str]()
    for number, deed in enumerate(trace.deeds):
        if isinstance(deed, Written) and deed.path.endswith("data.mdb"):
            end = deed.offset + len(deed.data)
            growing += [number] if end > sizes[deed.path] else []
            sizes[deed.path] = max(sizes[deed.path], end)
    return growing


def draw_moments(
    trace: Trace, growing: list[int], images: int, dice: random.Random
) -> Iterator[int]:
    """Yield moments: any, some in the making of the directory, some where the database grows."""
    made = trace.deeds.index(Said("done 0"))
    for number in range(images):
        match number % 8:
            case 0:
                yield dice.randrange(made)
            case 1:
                yield dice.choice(growing)
            case _:
                yield dice.randrange(len(trace.deeds))


def judge(bench: Bench, node: Path, said: str | None, real: Path, truth: list[str]) -> str:
    """Say what became of a directory whose process had said this."""
    if said is None and not (node / "lockstep.toml").exists():
        # `init` had not returned: it is begun again.
        code, made = bench.ask("init", str(node), "", 0, False)
        return "unmade" if (code, made) == (0, ["made"]) else f"not begun again: {code} {made}"
    for name in FILES:
        if not (node / name).exists() or (node / name).read_bytes() != (real / name).read_bytes():
            return f"{name} is lost"
    code, answer = bench.ask("digest", str(node))
    if code != 0:
        return f"died {code}"
    if answer[0] not in truth:
        return "unopenable" if answer[0].startswith("refused") else "inconsistent"
    done = truth.index(answer[0]) - int((said or "done 0").removeprefix("done "))
    if done < 0:
        return "acknowledged commits lost"
    return ("kept", "under way")[done] if done < 2 else "too much"


def run_images(tmp_path: Path, trace: Trace, images: int) -> None:
    verdicts, losses = judge_images(tmp_path, trace, images)
    sys.stdout.write(f"images={images} {dict(verdicts)} {dict(losses)}\n")
    assert set(verdicts) <= {"unmade", "kept", "under way"}, losses
    assert verdicts.total() == images
    assert verdicts["under way"] >= images // 60
    for kind, share in FLOORS.items():
        assert losses[kind] >= images // share, (kind, losses)


@pytest.mark.slow
def test_every_image_after_a_power_cut_is_whole(plain: Trace, tmp_path: Path) -> None:
    run_images(tmp_path, plain, IMAGES)


@pytest.mark.long
def test_thousands_of_images_after_a_power_cut_are_whole(plain: Trace, tmp_path: Path) -> None:
    run_images(tmp_path, plain, IMAGES_LONG)


@pytest.mark.slow
def test_without_sync_the_same_method_finds_the_database_broken(tmp_path: Path) -> None:
    trace = make_trace(tmp_path, "nosync")
    assert not any(isinstance(deed, Written) and deed.synced for deed in trace.deeds)
    verdicts, losses = judge_images(tmp_path, trace, CONTROL_IMAGES)
    sys.stdout.write(f"control images={CONTROL_IMAGES} {dict(verdicts)}\n")
    broken = verdicts["unopenable"] + verdicts["acknowledged commits lost"]
    assert broken >= CONTROL_IMAGES * 2 // 5, (verdicts, losses)
