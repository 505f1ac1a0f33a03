"""The real store in processes of its own, each made by a fork, so that any of them may die.

It reads a JSON list a line, does what it says in a child, and answers with a JSON object: how the
child ended (`code`, below 0 for a signal) and what it said (`said`).

| words | what the child does |
| --- | --- |
| init, directory, point, times, follow | makes a node's directory, up to a crash point |
| write, directory, done, count, point, times | commits, saying the number of each that returned |
| digest, directory | says the digest of everything in the database, or the refusal |
| start, directory | reads what a node reads at its start, and says it all |

`store_program.py trace DIRECTORY COMMITS FLAGS` makes and writes one database in this very process,
for a tracer; with the flags `nosync` the database does not sync, which no node can ask for.
"""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb

from crash.armed_program import arm
from crash.made_commits import (
    GENESIS,
    NODE_SEED,
    VOTING_SEED,
    MadeCommits,
    digest_of,
    open_store,
)
from lockstep.crypto.keys import SecretKey
from lockstep.errors import LockstepError
from lockstep.node.config import NODE_KEY_FILE, Settings, load_config
from lockstep.node.datadir import (
    check_node_key,
    init_node,
    load_genesis,
    load_seed,
    load_voting_key,
)
from lockstep.storage.store import Store

Say = Callable[[str], None]
REOPEN_EVERY = 40
_made_before = [MadeCommits()]


def init(say: Say, directory: str, site: str, times: int, follow: bool) -> None:  # Comes from JSON.
    """Make a node's directory, with a voting key unless it only follows."""
    if site:
        arm(site, times)
    make_node(Path(directory), follow=follow)
    say("made")


def make_node(directory: Path, *, follow: bool = False) -> None:
    """Make a node's directory with the keys of these tests."""
    init_node(
        directory,
        GENESIS,
        settings=Settings(),
        node_seed=NODE_SEED,
        voting_seed=None if follow else VOTING_SEED,
    )


def write(say: Say, directory: str, done: int, count: int, site: str, times: int) -> None:
    """Go on after `done` commits."""
    commits = _made_before[0]
    assert commits.taken == done
    store = open_store(Path(directory))
    if site:
        arm(site, times)
    for number in range(done + 1, done + count + 1):
        store.commit(commits.take())
        say(str(number))
    store.close()


def digest(say: Say, directory: str) -> None:
    """Say what everything in the database is, or with which code it is refused."""
    try:
        store = open_store(Path(directory))
        try:
            say(digest_of(store))
        finally:
            store.close()
    except LockstepError as fault:
        say(f"refused {fault.code}")


def start(say: Say, directory: str) -> None:
    """Read all that a node reads at its start, in its order, and everything in the database."""
    place = Path(directory)
    try:
        settings = load_config(place, environment={}, flags={}).settings
        genesis = load_genesis(place, settings.network)
        node_key = SecretKey(load_seed(place / NODE_KEY_FILE)).public_key
        voting_key = load_voting_key(place)
        own_key = None if voting_key is None else voting_key.public_key
        check_node_key(genesis, node_key=node_key, voting_key=own_key)
        store = Store.open(place, genesis, voting_key=own_key)
        try:
            found = (store.has_amnesia, digest_of(store))
        finally:
            store.close()
    except LockstepError as fault:
        say(f"refused {fault.code}")
    else:
        say(str(settings))
        say(f"{genesis.chain_id.hex()} {node_key.hex()} {own_key and own_key.hex()} {found}")


WORDS: dict[str, Callable[..., None]] = {
    "init": init,
    "write": write,
    "digest": digest,
    "start": start,
}


def run_in_child(words: list[Any]) -> dict[str, Any]:
    """Do what the words say in a child; return how it ended and what it said."""
    if words[0] == "write":
        _go_to(words[2])
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        WORDS[words[0]](lambda text: os.write(writing, f"{text}\n".encode()), *words[1:])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"code": code, "said": said}


def _go_to(done: int) -> None:
    """Make the commits before the next one once, here, and not in every child."""
    if _made_before[0].taken > done:
        _made_before[0] = MadeCommits()
    while _made_before[0].taken < done:
        _made_before[0].take()


def trace(directory: Path, count: int, flags: str) -> None:
    """Make a database and write to it, opening it anew now and then."""
    if flags == "nosync":
        setattr(lmdb, "open", functools.partial(_open_without_sync, lmdb.open))  # noqa: B010  # Its stub calls it a class.
    make_node(directory)
    _say_directly("0")
    commits = MadeCommits()
    store = open_store(directory)
    for number in range(1, count + 1):
        store.commit(commits.take())
        _say_directly(str(number))
        if number % REOPEN_EVERY == 0:
            store.close()
            store = open_store(directory)
    store.close()


def _open_without_sync(really_open: Callable[..., Any], path: str, **options: Any) -> Any:
    return really_open(path, **(options | {"sync": False, "metasync": False}))


def _say_directly(text: str) -> None:
    os.write(1, f"done {text}\n".encode())


def main() -> None:
    """Answer line by line."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run_in_child(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["trace"]:
        trace(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main()
