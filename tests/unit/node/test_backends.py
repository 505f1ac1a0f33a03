"""Which verifier a node takes, and why; a fast one is trusted only after its self-test [M3]."""

import ctypes
import logging
import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

from lockstep.crypto.multibuffer import Kernel
from lockstep.node import backends, kernel
from lockstep.node.backends import (
    CRYPTO_MB,
    BackendMissing,
    WrongVerdicts,
    choose_backend,
    count_threads,
)
from lockstep.node.kernel import UNUSED_LIBRARIES, NoKernel, load_kernel, make_empty_library
from unit.crypto.signature_cases import NEEDS_CRYPTO_MB

IS_ITS_SYSTEM = sys.platform == "linux" and platform.machine() == "x86_64"


def no_kernel() -> Kernel:
    raise NoKernel("this machine is a toaster")


def lying_kernel() -> Kernel:
    return lambda *_: 0


def test_without_the_library_libsodium_is_taken_and_a_sentence_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(backends, "load_kernel", no_kernel)
    backend = choose_backend("auto")
    assert (backend.name, backend.is_vectorised) == ("sodium", False)
    assert [(r.levelname, r.getMessage()) for r in caplog.records] == [
        ("INFO", "crypto_mb is not used: this machine is a toaster"),
        ("INFO", "signatures are verified by sodium"),
    ]
    with pytest.raises(BackendMissing, match="a toaster"):
        choose_backend(CRYPTO_MB)


def test_a_kernel_that_judges_otherwise_is_switched_off_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """[M3, 2.8]."""
    monkeypatch.setattr(backends, "load_kernel", lying_kernel)
    assert choose_backend("auto").name == "sodium"
    (warning,) = (r for r in caplog.records if r.levelname == "WARNING")
    assert "crypto_mb is switched off: the self-test of crypto_mb differs on:" in warning.message
    with pytest.raises(WrongVerdicts):
        choose_backend(CRYPTO_MB)


def test_libsodium_by_name_looks_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def unexpected() -> Kernel:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(backends, "load_kernel", unexpected)
    assert choose_backend("sodium").name == "sodium"


@NEEDS_CRYPTO_MB
def test_where_it_runs_crypto_mb_is_taken_by_itself() -> None:
    for setting in ("auto", CRYPTO_MB):
        backend = choose_backend(setting)
        assert (backend.name, backend.is_vectorised) == (CRYPTO_MB, True)


@pytest.mark.skipif(not IS_ITS_SYSTEM, reason="the library is made for Linux on x86-64")
def test_where_processor_and_library_are_it_is_not_skipped() -> None:
    """On such a machine a skip of the other tests would hide a fault."""
    flags = Path("/proc/cpuinfo").read_text().split()
    if "avx512ifma" not in flags:
        with pytest.raises(NoKernel):
            load_kernel()
        pytest.skip("this processor has no AVX-512 IFMA, and that is what the node says")
    assert callable(load_kernel())


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("darwin", "x86_64"), ("linux", "aarch64")]
)
def test_on_other_systems_nothing_is_looked_for(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    with pytest.raises(NoKernel, match="Linux on x86-64 alone"):
        load_kernel()


@pytest.mark.skipif(not IS_ITS_SYSTEM, reason="the library is made for Linux on x86-64")
def test_a_library_that_is_missing_or_broken_is_no_kernel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(NoKernel, match="ipp-crypto is not installed"):
        load_kernel()
    (tmp_path / "lib").mkdir()
    path = tmp_path / "lib" / kernel.LIBRARY
    path.write_bytes(b"not a library")
    with pytest.raises(NoKernel, match="cannot be loaded"):
        load_kernel()
    path.unlink()
    path.write_bytes(make_empty_library("libother.so.1"))
    with pytest.raises(NoKernel, match="cannot be loaded"):
        load_kernel()


@pytest.mark.skipif(not IS_ITS_SYSTEM, reason="empty libraries are made for Linux on x86-64")
@pytest.mark.parametrize("name", [*UNUSED_LIBRARIES, "lib.so", "libwith-a-longer-name.so.12"])
def test_an_empty_library_loads_and_goes_by_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(make_empty_library(f"x{name}"))
    ctypes.CDLL(str(path))
    # Found by name alone: nothing of that name is anywhere the loader looks.
    ctypes.CDLL(f"x{name}")
    assert not hasattr(ctypes.CDLL(str(path)), "anything")


def test_threads_are_as_many_as_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, threads in ((1, 1), (2, 2), (3, 3), (64, 4)):
        usable = set(range(cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, usable=usable: usable, raising=False)
        assert count_threads() == threads
