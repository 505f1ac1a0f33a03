"""The same events give the same effects, whatever the interpreter's hash seed is [M1]."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from lockstep.primitives import codec
from lockstep.primitives.votes import Vote
from lockstep.replica.effects import Broadcast, Effect, Persist, Send
from lockstep.replica.events import BatchReceived, Event
from unit.replica.cluster import Cluster, Node

ROOT = Path(__file__).resolve().parents[3]


def digest_of_a_run() -> str:
    """Return a digest of all effects of a run with rivals, children, losses and a crash."""
    cluster = Cluster((4, 3, 2, 2), seed=5, closing_every=3)
    digest = sha256()

    def note(node: Node, event: Event, effects: list[Effect]) -> None:
        digest.update(f"{cluster.now} {node.index} {type(event).__name__}\n".encode())
        for effect in effects:
            match effect:
                case Persist(record=record):
                    digest.update(codec.encode(record))
                case Broadcast(message=message) | Send(message=message):
                    digest.update(codec.encode(message))
                case _:
                    digest.update(repr(effect).encode())

    cluster.on_step = note
    dice = Random(5)
    cluster.gates.append(lambda s, r, m: not isinstance(m, Vote) or dice.random() > 0.1)
    for i in range(24):
        batch = cluster.batch(cluster.pay_coin(i), cluster.pay_coin(i, memo=b"rival"))
        cluster.step(i % 4, BatchReceived(cluster.peers[(i + 1) % 4], batch))
        cluster.submit((i + 1) % 4, cluster.pay_coin(i, memo=b"other"))
        cluster.run(90)
        if i == 12:
            cluster.crash(2)
        if i == 16:
            cluster.start(2)
    cluster.run_to_height(7)
    return digest.hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_effects_do_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    """No iteration over a set, no address, no clock reaches an effect."""
    program = "from unit.replica.test_determinism import digest_of_a_run as run; print(run())"
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program]
    told = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.strip() == digest_of_a_run()
