"""Finds and loads libcrypto_mb, which judges eight Ed25519 signatures at once.

The package `ipp-crypto` brings it for x86-64 Linux and the launcher installs it there; it is never
required. It names four libraries of Intel's compiler that it uses no symbol of. They are large and
not free software, so empty ones of those names stand in for them, made in memory
(docs/adr/0015-verifier-backends.md).
"""

import ctypes
import os
import platform
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Final

from lockstep.crypto.multibuffer import Kernel
from lockstep.errors import Unavailable

LIBRARY: Final = "libcrypto_mb.so.13"
"""By the name that changes with the binary interface, so that another one is not loaded."""
UNUSED_LIBRARIES: Final = ("libintlc.so.5", "libimf.so", "libirng.so", "libsvml.so")

_FUNCTION: Final = "mbx_ed25519_verify_mb8"
_IS_APPLICABLE: Final = "mbx_is_crypto_mb_applicable"
_HEADER_BYTES: Final = 64
_SEGMENT_BYTES: Final = 56
_SYMBOL_BYTES: Final = 24
_PAGE_BYTES: Final = 4096


class NoKernel(Unavailable):
    """The vectorised check of signatures cannot be had on this machine."""

    code = "verify.no_kernel"


def load_kernel() -> Kernel:
    """Return the function of libcrypto_mb that verifies eight signatures.

    Each call of it lets other threads run.

    Raises:
        NoKernel: If it cannot be had here; the sentence says why.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise NoKernel("the library is made for Linux on x86-64 alone")
    path = Path(sysconfig.get_path("data")) / "lib" / LIBRARY
    if not path.exists():
        raise NoKernel("the package ipp-crypto is not installed")
    try:
        _stand_in(UNUSED_LIBRARIES)
        library = ctypes.CDLL(str(path))
        is_applicable = getattr(library, _IS_APPLICABLE)
        kernel = getattr(library, _FUNCTION)
    except (OSError, AttributeError) as fault:
        raise NoKernel(f"the library cannot be loaded: {fault}") from fault
    is_applicable.argtypes = [ctypes.c_uint64]
    # 0 asks for all that the library can use here: the answer is 1 or 0.
    if is_applicable(0) != 1:
        raise NoKernel("this processor has no AVX-512 IFMA")
    kernel.argtypes = [ctypes.c_void_p] * 5
    kernel.restype = ctypes.c_uint32
    function: Kernel = kernel
    return function


def _stand_in(names: tuple[str, ...]) -> None:
    """Load an empty library for each name; one of that name that is loaded already stays."""
    descriptors: list[int] = []
    try:
        for name in names:
            descriptor = os.memfd_create(name)
            # All stay open until the last is loaded: the loader knows a file by its path, and the
            # path is the descriptor's number.
            descriptors.append(descriptor)
            os.write(descriptor, make_empty_library(name))
            ctypes.CDLL(f"/proc/self/fd/{descriptor}")
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def make_empty_library(name: str) -> bytes:
    """Return the bytes of a shared library for x86-64 Linux that is called `name` and is empty.

    The format is ELF: a header, three segments (all of it, its dynamic table, a stack that is not
    executable), the texts, one null symbol with its hash table, and the dynamic table.
    """
    texts = b"\0" + name.encode("ascii") + b"\0"
    texts_at = _HEADER_BYTES + 3 * _SEGMENT_BYTES
    symbols_at = (texts_at + len(texts) + 7) & ~7
    hashes_at = symbols_at + _SYMBOL_BYTES
    table_at = hashes_at + 16
    entries = (
        (14, 1),  # The library's name, by its place in the texts.
        (5, texts_at),
        (10, len(texts)),
        (6, symbols_at),
        (11, _SYMBOL_BYTES),
        (4, hashes_at),
        (0, 0),
    )
    table = b"".join(struct.pack("<QQ", tag, value) for tag, value in entries)
    size = table_at + len(table)
    magic = b"\x7fELF\x02\x01\x01"
    counts = (_HEADER_BYTES, _SEGMENT_BYTES, 3, 64, 0, 0)
    header = struct.pack("<16sHHIQQQI6H", magic, 3, 62, 1, 0, _HEADER_BYTES, 0, 0, *counts)
    segment = struct.Struct("<IIQQQQQQ")
    segments = segment.pack(1, 6, 0, 0, 0, size, size, _PAGE_BYTES)
    segments += segment.pack(2, 6, *[table_at] * 3, *[len(table)] * 2, 8)
    segments += segment.pack(0x6474E551, 6, 0, 0, 0, 0, 0, 16)
    before = (header + segments + texts).ljust(hashes_at, b"\0")
    return before + struct.pack("<4I", 1, 1, 0, 0) + table
