"""The choice of a verifier: the fastest that is there and agrees with the frozen verdicts [M3]."""

import logging
import os
from typing import Final

from msgspec import Struct

from lockstep.crypto.keys import SodiumVerifier, Verifier
from lockstep.crypto.multibuffer import MultiBufferVerifier
from lockstep.crypto.selftest import find_difference
from lockstep.errors import Fatal
from lockstep.node.kernel import NoKernel, load_kernel

AUTO: Final = "auto"
SODIUM: Final = "sodium"
CRYPTO_MB: Final = "crypto_mb"
CHOICES: Final = (AUTO, SODIUM, CRYPTO_MB)
THREADS_MAX: Final = 4
"""Threads that judge signatures; more would only wait for Python, which all of them need."""

logger: Final = logging.getLogger(__name__)


class BackendMissing(Fatal):
    """The settings name a verifier that this machine does not have."""

    code = "verify.backend"
    hint = "set verify_backend to auto or sodium, or see `lockstep bench verify`"


class WrongVerdicts(Fatal):
    """A verifier failed its self-test; using it could split the network."""

    code = "verify.selftest"
    hint = "set verify_backend to auto or sodium, and report the processor and the sentence"


class Backend(Struct, frozen=True):
    """A verifier and how to use it.

    Attributes:
        name: `sodium` or `crypto_mb`.
        verifier: Whatever judges the signatures; threads may share it.
        is_vectorised: Whether it is quick enough for the loop; else it belongs into threads.
    """

    name: str
    verifier: Verifier
    is_vectorised: bool


def choose_backend(setting: str) -> Backend:
    """Return the backend that the setting names, and log it; `auto` takes the fastest there is.

    Raises:
        BackendMissing: If `crypto_mb` is named and cannot be had.
        WrongVerdicts: If `crypto_mb` is named and fails its self-test.
    """
    backend = Backend(name=SODIUM, verifier=SodiumVerifier(), is_vectorised=False)
    if setting != SODIUM:
        try:
            backend = load_crypto_mb()
        except NoKernel as fault:
            if setting == CRYPTO_MB:
                raise BackendMissing(f"there is no crypto_mb to verify with: {fault}") from fault
            logger.info("crypto_mb is not used: %s", fault)
        except WrongVerdicts as fault:
            if setting == CRYPTO_MB:
                raise
            logger.warning("crypto_mb is switched off: %s", fault)
    logger.info("signatures are verified by %s", backend.name)
    return backend


def count_threads() -> int:
    """Return how many threads shall judge signatures: one a core that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    return min(THREADS_MAX, len(usable) or os.cpu_count() or 1)


def load_crypto_mb() -> Backend:
    """Return the vectorised backend, self-tested.

    Raises:
        NoKernel: If it cannot be had on this machine.
        WrongVerdicts: If a verdict of it differs from the frozen ones.
    """
    verifier = MultiBufferVerifier(load_kernel())
    difference = find_difference(verifier)
    if difference is not None:
        raise WrongVerdicts(f"the self-test of crypto_mb differs on: {difference}")
    return Backend(name=CRYPTO_MB, verifier=verifier, is_vectorised=True)
