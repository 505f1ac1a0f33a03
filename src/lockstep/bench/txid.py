"""`lockstep bench txid`: what a node derives from a payment's bytes, the signature kernel apart.

Opening a batch is all between its bytes and its verdicts: decoding, hashes, locks, the rules of
shape, the checks of the witnesses, bounds and lanes. The kernel here answers at once, so what is
left is ours. The parts are measured by themselves, and hashing by columns beside one by one.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from lockstep.bench.made_payments import PaymentMaker, make_genesis
from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.crypto.hashing import merkle_root_above, tagged_hash, tagged_hashes
from lockstep.crypto.keys import SignatureCheck
from lockstep.crypto.multibuffer import MultiBufferVerifier
from lockstep.primitives.batch import decode_batch
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX, make_rooted_batch_id
from lockstep.replica.ingress import prepare_batch
from lockstep.replica.judging import STEP_CHECKS
from lockstep.replica.witnesses import claim_spends, derive_parts

SIZES: Final = (8, 20, 100, BATCH_TRANSACTIONS_MAX)
"""The least is a full group of lanes: a lone signature does not go to the kernel."""


def run(request: Request) -> Report:
    """Measure whole batches by size, and the parts of the largest."""
    genesis = make_genesis([1] * 4, coins=BATCH_TRANSACTIONS_MAX)
    maker = PaymentMaker(genesis)
    # A kernel that finds all good: what is measured is the way to it and back.
    verifier = MultiBufferVerifier(lambda *_: 0)
    variants: dict[str, Variant] = {}
    for size in SIZES:
        body = maker.make_body(0, size)
        work = partial(prepare_batch, body, chain_id=genesis.chain_id, verifier=verifier)
        variants[f"open a batch of {size}"] = Variant(work, size)
    body = maker.make_body(0, BATCH_TRANSACTIONS_MAX)
    parts = _parts(body, genesis.chain_id, verifier)
    variants |= {name: Variant(work, BATCH_TRANSACTIONS_MAX) for name, work in parts.items()}
    figures = measure(variants, repetitions=request.repetitions)
    return Report(figures=figures, content={}, lines=_describe(figures))


def _parts(
    body: bytes, chain_id: bytes, verifier: MultiBufferVerifier
) -> dict[str, Callable[[], object]]:
    parts = decode_batch(body)
    count = len(parts.bodies)
    opened = derive_parts(parts, 0, count)
    nodes = [each.node for each in opened.derived]
    checks = claim_spends(opened, chain_id=chain_id).checks
    steps = [checks[start : start + STEP_CHECKS] for start in range(0, count, STEP_CHECKS)]

    def lay_out(groups: list[list[SignatureCheck]]) -> None:
        for group in groups:
            verifier.verify_many(group)

    return {
        "decode, prove canonical": lambda: decode_batch(body),
        "txids, leaves, locks, shape": lambda: derive_parts(parts, 0, count),
        "checks of the witnesses": lambda: claim_spends(opened, chain_id=chain_id),
        "batch id": lambda: make_rooted_batch_id(count, merkle_root_above(nodes)),
        "bounds and lanes": lambda: lay_out(steps),
        "hash bodies as a column": lambda: tagged_hashes("tx", parts.bodies),
        "hash bodies one by one": lambda: [tagged_hash("tx", body) for body in parts.bodies],
    }


def _describe(figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a payment, without the kernel (10th to 90th percentile)"]
    for name, found in figures.items():
        lines.append(f"  {name:28} {found.cpu:8.3f} ({found.cpu_low:.3f} to {found.cpu_high:.3f})")
    return lines
