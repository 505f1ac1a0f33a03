"""Eight lanes: what the kernel is handed, and what is made of its answers.

The kernel here is Python that reads the memory it is pointed to, as the real one does, so these
tests run on every machine.
"""

import ctypes
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.crypto.keys import SecretKey, SignatureCheck, SodiumVerifier, sodium_holds
from lockstep.crypto.multibuffer import LANES, STATUS_BAD, STATUS_GOOD, MultiBufferVerifier
from lockstep.crypto.selftest import KNOWN_CHECKS, find_difference

KEYS = [SecretKey(bytes([number]) * 32) for number in range(16)]
Judge = Callable[[bytes, bytes, bytes], int]


def read_lane(addresses: tuple[int, ...], lane: int) -> SignatureCheck:
    """Return key, message and signature that the lane's five entries lead to."""
    points, scalars, messages, lengths, keys = addresses

    def follow(array: int, size: int) -> bytes:
        pointer = ctypes.c_uint64.from_address(array + lane * 8).value
        return ctypes.string_at(pointer, size)

    size = ctypes.c_uint32.from_address(lengths + lane * 4).value
    signature = follow(points, 32) + follow(scalars, 32)
    return follow(keys, 32), follow(messages, size), signature


def status_of(key: bytes, message: bytes, signature: bytes) -> int:
    return STATUS_GOOD if sodium_holds(key, message, signature) else STATUS_BAD


class Kernel:
    """Judges by `judge` and notes the lanes of each call."""

    def __init__(self, judge: Judge = status_of) -> None:
        self.calls: list[list[SignatureCheck]] = []
        self._judge = judge

    def __call__(self, *addresses: int) -> int:
        lanes = [read_lane(addresses, lane) for lane in range(LANES)]
        self.calls.append(lanes)
        return sum(self._judge(*check) << 4 * lane for lane, check in enumerate(lanes))


def make_check(number: int, size: int, *, is_good: bool = True) -> SignatureCheck:
    key, message = KEYS[number % 16], bytes([number]) * size
    signature = key.sign(message)
    return key.public_key, message, signature if is_good else KEYS[(number + 1) % 16].sign(message)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 70), st.booleans()), max_size=40))
def test_each_check_is_in_one_lane_and_has_its_verdict(
    rows: list[tuple[int, int, bool]],
) -> None:
    """[M3]."""
    kernel = Kernel()
    checks = [make_check(number, size, is_good=good) for number, size, good in rows]
    assert MultiBufferVerifier(kernel).verify_many(checks) == [good for _, _, good in rows]
    lanes = [check for call in kernel.calls for check in call]
    in_lanes = len(checks) - (len(checks) % LANES == 1)
    assert lanes[:in_lanes] == checks[:in_lanes]
    # Lanes that are left over repeat the last check, so that none points nowhere.
    assert set(lanes[in_lanes:]) <= {checks[in_lanes - 1]} if in_lanes else not lanes


def test_a_lone_check_goes_to_libsodium() -> None:
    kernel = Kernel()
    verifier = MultiBufferVerifier(kernel)
    assert verifier.verify_many([]) == []
    assert verifier.verify_many([make_check(1, 32)]) == [True]
    assert verifier.verify_many([make_check(1, 32, is_good=False)]) == [False]
    assert kernel.calls == []
    assert verifier.verify_many([make_check(number, 32) for number in range(9)]) == [True] * 9
    assert len(kernel.calls) == 1


def test_what_is_out_of_bounds_never_reaches_the_kernel() -> None:
    """[M3] The kernel would find all of it good."""
    kernel = Kernel(lambda *_: STATUS_GOOD)
    known = [known for known in KNOWN_CHECKS for _ in range(3)]
    verdicts = MultiBufferVerifier(kernel).verify_many([each.check for each in known])
    lanes = [check for call in kernel.calls for check in call]
    assert not [each.what for each in known if "small" in each.what and each.check in lanes]
    assert not [each.what for each in known if "S + L" in each.what and each.check in lanes]
    assert False in verdicts


@pytest.mark.parametrize("status", [1, 2, 4, 15])
def test_a_status_that_is_no_verdict_leaves_the_check_to_libsodium(status: int) -> None:
    """[M3] A lane that the kernel could not judge must not split the network."""
    verifier = MultiBufferVerifier(Kernel(lambda *_: status))
    checks = [make_check(number, 32, is_good=number % 3 > 0) for number in range(8)]
    assert verifier.verify_many(checks) == [number % 3 > 0 for number in range(8)]


def test_the_self_test_passes_what_is_right() -> None:
    assert find_difference(SodiumVerifier()) is None
    assert find_difference(MultiBufferVerifier(Kernel())) is None


def only_short(key: bytes, message: bytes, signature: bytes) -> int:
    """Read 32 bytes of a message at most."""
    return status_of(key, message[:32], signature)


def with_cofactor(key: bytes, message: bytes, signature: bytes) -> int:
    """Accept the two cases of the self-test that hold only with the cofactor."""
    cases = [known.check for known in KNOWN_CHECKS if "only with the cofactor" in known.what]
    assert cases
    return 0 if (key, message, signature) in cases else status_of(key, message, signature)


def ignoring_r(key: bytes, message: bytes, signature: bytes) -> int:
    """Take any R for a good one where the rest is that of a known check."""
    rests = [(k, m, s[32:]) for k, m, s in (known.check for known in KNOWN_CHECKS if known.holds)]
    return 0 if (key, message, signature[32:]) in rests else status_of(key, message, signature)


@pytest.mark.parametrize(
    "judge",
    [lambda *_: STATUS_GOOD, lambda *_: STATUS_BAD, only_short, with_cofactor, ignoring_r],
    ids=["accepts all", "refuses all", "short", "cofactor", "any R"],
)
def test_the_self_test_finds_a_kernel_that_judges_otherwise(judge: Judge) -> None:
    """[M3, 2.8]."""
    assert find_difference(MultiBufferVerifier(Kernel(judge))) is not None


@pytest.mark.parametrize("lane", range(LANES))
def test_the_self_test_finds_a_lane_that_is_wrong(lane: int) -> None:
    """[M3, 2.8] One lane is never bad, or always."""

    def deaf(*addresses: int) -> int:
        return Kernel()(*addresses) & ~(15 << 4 * lane)

    def broken(*addresses: int) -> int:
        return Kernel()(*addresses) | STATUS_BAD << 4 * lane

    assert find_difference(MultiBufferVerifier(deaf)) is not None
    assert find_difference(MultiBufferVerifier(broken)) is not None
