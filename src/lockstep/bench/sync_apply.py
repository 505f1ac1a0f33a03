"""`lockstep bench sync-apply`: following the chain from others' blocks, as a node that was away.

From the encoded decided blocks, as pages brought them, to coins and indexes on the disk: decode and
derive, verify certificate and witnesses, run, commit to a real store in a new directory.
"""

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lockstep.bench.block_network import BlockNetwork
from lockstep.bench.measuring import Figure, summarise
from lockstep.bench.registry import Report, Request
from lockstep.crypto.keys import SignatureCheck, Verifier
from lockstep.errors import Misuse
from lockstep.node.app import GC_THRESHOLDS
from lockstep.node.backends import AUTO, choose_backend
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import Status
from lockstep.replica.blockpages import judge_block
from lockstep.replica.effects import Persist
from lockstep.replica.events import PeerConnected, Persisted, Started, StatusReceived
from lockstep.replica.replica import Replica
from lockstep.storage.store import Store

BLOCK_PAYMENTS: Final = 1_000
BLOCKS: Final = 6
OPENING: Final = "open"
VERIFYING: Final = "verify"
APPLYING: Final = "apply"
STORING: Final = "store"
PARTS: Final = (OPENING, VERIFYING, APPLYING, STORING)
_REPETITIONS_MAX: Final = 7
_PEER: Final = bytes(32)


def run(request: Request) -> Report:
    """Measure a follower that takes a chain from the first block on."""
    backend = choose_backend(AUTO)
    # As a running node has it; else the collector is what is measured.
    gc.set_threshold(*GC_THRESHOLDS)
    chain = BlockNetwork(backend.verifier, payments=BLOCKS * BLOCK_PAYMENTS)
    for _ in range(BLOCKS):
        chain.decide(BLOCK_PAYMENTS)
    blocks = [encode(record.decided) for record in chain.records]
    payments = BLOCKS * BLOCK_PAYMENTS
    follow(chain.genesis, blocks, backend.verifier)
    samples = [
        {
            part: spent / (1000 * payments)
            for part, spent in follow(chain.genesis, blocks, backend.verifier).items()
        }
        for _ in range(min(request.repetitions, _REPETITIONS_MAX))
    ]
    figures = {
        part: summarise([(sample[part], sample[part]) for sample in samples]) for part in PARTS
    }
    totals = [sum(sample.values()) for sample in samples]
    figures["all"] = summarise([(total, total) for total in totals])
    content: dict[str, Any] = {
        "verify_backend": backend.name,
        "blocks": len(blocks),
        "payments": payments,
        "payments_per_second_core": round(1e6 / figures["all"].cpu),
        "verify_share": round(figures[VERIFYING].cpu / figures["all"].cpu, 3),
        "us_per_payment": {name: figure.cpu for name, figure in figures.items()},
    }
    return Report(figures=figures, content=content, lines=_describe(content, figures))


def follow(genesis: Genesis, blocks: Sequence[bytes], verifier: Verifier) -> Counter[str]:
    """Let a new follower take these decided blocks; return CPU nanoseconds by part.

    Raises:
        Misuse: If it does not come to the last of them.
    """
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as directory:
        store = Store.open(Path(directory), genesis, voting_key=None)
        try:
            return _follow(genesis, blocks, verifier, store)
        finally:
            store.close()


class _Clocked:
    """Passes checks on and counts the time they took."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self.spent_ns = 0

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        started = time.process_time_ns()
        verdicts = self._verifier.verify_many(checks)
        self.spent_ns += time.process_time_ns() - started
        return verdicts


def _follow(
    genesis: Genesis, blocks: Sequence[bytes], verifier: Verifier, store: Store
) -> Counter[str]:
    spent: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
    clocked = _Clocked(verifier)
    readers = store.readers()
    replica = Replica(
        genesis=genesis,
        state=store.load_state(),
        view=readers,
        signer=None,
        verifier=clocked,
        tip_certificate=None,
        has_amnesia=False,
    )
    replica.step(Started(), time_ms=genesis.time_ms)
    replica.step(PeerConnected(_PEER), time_ms=genesis.time_ms)
    status = StatusReceived(_PEER, Status(len(blocks), bytes(32), 0))
    replica.step(status, time_ms=genesis.time_ms)
    for height, data in enumerate(blocks, start=1):
        marks = [time.process_time_ns()]
        fetched = judge_block(
            data,
            height=height,
            peer=_PEER,
            chain_id=genesis.chain_id,
            lookup=replica.view,
            verifier=clocked,
            find_verified=replica.view.find_verified,
        )
        marks.append(time.process_time_ns())
        effects = replica.step(fetched, time_ms=genesis.time_ms)
        marks.append(time.process_time_ns())
        store.commit([effect.record for effect in effects if isinstance(effect, Persist)])
        readers.renew()
        replica.step(Persisted(height), time_ms=genesis.time_ms)
        marks.append(time.process_time_ns())
        for part, begin, end in zip((OPENING, APPLYING, STORING), marks, marks[1:], strict=False):
            spent[part] += end - begin
    spent[VERIFYING] = clocked.spent_ns
    spent[OPENING] -= clocked.spent_ns
    if store.load_state().height != len(blocks):
        raise Misuse("the follower did not come to the last block")
    return spent


def _describe(content: dict[str, Any], figures: dict[str, Figure]) -> list[str]:
    chain = f"{content['payments']} payments in {content['blocks']} blocks"
    lines = [f"CPU microseconds a payment: {chain}, signatures by {content['verify_backend']}"]
    lines += [
        f"  {name.ljust(8)} {figure.cpu:7.2f} ({figure.cpu_low:.2f} to {figure.cpu_high:.2f})"
        for name, figure in figures.items()
    ]
    lines.append(
        f"{content['payments_per_second_core']} payments a second and core;"
        f" verification is {100 * content['verify_share']:.0f} %"
    )
    return lines
