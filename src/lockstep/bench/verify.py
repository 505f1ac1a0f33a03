"""`lockstep bench verify`: what a signature costs by each backend, and that all of them agree [M3].

Groups of several sizes, because a vectorised backend is quick on many and slow on one. Keys and
messages differ; messages have 32 bytes, as all that nodes sign.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from lockstep.bench.measuring import Figure, Variant, measure
from lockstep.bench.registry import Report, Request
from lockstep.bench.signature_vectors import (
    NoVectors,
    load_frozen,
    load_newer_wycheproof,
    load_official,
    load_speccheck,
    load_wycheproof,
)
from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier, Verifier
from lockstep.crypto.multibuffer import LANES
from lockstep.crypto.selftest import KNOWN_CHECKS
from lockstep.errors import LockstepError
from lockstep.node.backends import CRYPTO_MB, SODIUM, load_crypto_mb

SIZES: Final = (1, 4, 8, 16, 64, 400)
"""Signatures in a group; 400 are those of a full batch."""
_SHOWN_MAX: Final = 10

Case = tuple[SignatureCheck, bool]


def run(request: Request) -> Report:
    """Measure every backend of this machine and compare their verdicts."""
    backends: dict[str, Verifier] = {SODIUM: SodiumVerifier()}
    missing: dict[str, str] = {}
    try:
        backends[CRYPTO_MB] = load_crypto_mb().verifier
    except LockstepError as fault:
        missing[CRYPTO_MB] = str(fault)
    agreement = compare(backends, request)
    figures = measure(_variants(backends), repetitions=request.repetitions)
    table = {
        name: {str(size): figures[f"{name}.{size}"].cpu for size in SIZES} for name in backends
    }
    content = {
        "backends": list(backends),
        "missing": missing,
        "us_per_signature": table,
        "agreement": agreement,
    }
    return Report(
        figures=figures,
        content=content,
        lines=_describe(content, figures),
        is_good=agreement["agree"],
        against={
            f"{name}.{size}": f"{SODIUM}.{size}"
            for size in SIZES
            for name in backends
            if name != SODIUM
        },
    )


def _variants(backends: dict[str, Verifier]) -> dict[str, Variant]:
    keys = [SecretKey(sha256(b"key %d" % number).digest()) for number in range(max(SIZES))]
    digests = [sha256(b"message %d" % number).digest() for number in range(max(SIZES))]
    checks = [
        (key.public_key, digest, key.sign(digest))
        for key, digest in zip(keys, digests, strict=True)
    ]

    def judging(verifier: Verifier, size: int) -> Callable[[], object]:
        group = checks[:size]
        return lambda: verifier.verify_many(group)

    return {
        f"{name}.{size}": Variant(work=judging(verifier, size), items=size)
        for size in SIZES
        for name, verifier in backends.items()
    }


def compare(backends: dict[str, Verifier], request: Request) -> dict[str, Any]:
    """Judge all vectors of this machine by every backend, one by one in all lanes and together."""
    sets, absent = _load_sets(request)
    cases = {name: case for found in sets.values() for name, case in found.items()}
    checks = [check for check, _ in cases.values()]
    expected = [verdict for _, verdict in cases.values()]
    differences: list[str] = []
    for backend, verifier in backends.items():
        spread = verifier.verify_many([check for check in checks for _ in range(LANES)])
        together = verifier.verify_many(checks)
        for place, (name, verdict) in enumerate(zip(cases, expected, strict=True)):
            lanes = spread[place * LANES : (place + 1) * LANES]
            if together[place] != verdict or lanes != [verdict] * LANES:
                differences.append(f"{backend}: {name}")
    return {
        "agree": not differences,
        "vectors": len(cases),
        "sets": {name: len(found) for name, found in sets.items()},
        "absent": absent,
        "differences": differences,
    }


def _load_sets(request: Request) -> tuple[dict[str, dict[str, Case]], dict[str, str]]:
    """Return the vectors with their frozen verdicts by set, and why a set is absent."""
    tests, vectors = request.places.tests, request.places.vectors

    def with_verdicts(checks: dict[str, SignatureCheck]) -> dict[str, Case]:
        frozen = load_frozen(tests)
        return {name: (check, frozen[name]) for name, check in checks.items()}

    loaders: dict[str, Callable[[], dict[str, Case]]] = {
        "self_test": lambda: {f"self-test {k.what}": (k.check, k.holds) for k in KNOWN_CHECKS},
        "speccheck": lambda: with_verdicts(load_speccheck(vectors)),
        "wycheproof": lambda: with_verdicts(load_wycheproof(vectors)[0]),
        "newer_wycheproof": lambda: with_verdicts(load_newer_wycheproof()[0]),
        "official": lambda: {name: (check, True) for name, check in load_official().items()},
    }
    sets: dict[str, dict[str, Case]] = {}
    absent: dict[str, str] = {}
    for name, load in loaders.items():
        try:
            sets[name] = load()
        except NoVectors as fault:
            absent[name] = str(fault)
    return sets, absent


def _describe(content: dict[str, Any], figures: dict[str, Figure]) -> list[str]:
    lines = ["CPU microseconds a signature: median (10th to 90th percentile)"]
    for name in content["backends"]:
        lines.append(f"{name}:")
        for size in SIZES:
            found = figures[f"{name}.{size}"]
            lines.append(
                f"  groups of {size:3}: {found.cpu:7.2f} ({found.cpu_low:.2f} to"
                f" {found.cpu_high:.2f}), wall {found.wall:.2f}"
            )
    lines += [f"{name} is not there: {why}" for name, why in content["missing"].items()]
    agreement = content["agreement"]
    counts = ", ".join(f"{name} {count}" for name, count in agreement["sets"].items())
    verdict = "all agree" if agreement["agree"] else "THEY DIFFER"
    lines.append(f"verdicts on {agreement['vectors']} vectors ({counts}): {verdict}")
    lines += [f"absent: {name}: {why}" for name, why in agreement["absent"].items()]
    lines += [f"differs: {name}" for name in agreement["differences"][:_SHOWN_MAX]]
    return lines
