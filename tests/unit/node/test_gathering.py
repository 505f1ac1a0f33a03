"""Under load, Votes that complete no quorum wait for company, and those that do never wait."""

import pytest

from lockstep.crypto.keys import SecretKey
from lockstep.node.committees import ChainFacts
from lockstep.node.gathering import BATCHES_MAX, LOAD_BATCH_BYTES, LOAD_BATCHES, LOAD_S, Gathering
from lockstep.primitives.messages import BatchBody, encode_message
from unit.node.verifier_world import GENESIS, KEYS, View, status, vote

BATCH = encode_message(BatchBody(bytes(LOAD_BATCH_BYTES)))


class Crowd:
    """A gathering under load, at an hour that the test sets."""

    def __init__(self, own: SecretKey | None = KEYS[3]) -> None:
        view = View()
        view.own_id = None if own is None else view.own_id
        self.gathering = Gathering(ChainFacts(view, GENESIS.closing_every))
        self.now_s = 0.0
        self.work()

    def work(self) -> None:
        for _ in range(LOAD_BATCHES):
            assert not self.may_wait(BATCH)

    def may_wait(self, *frames: bytes) -> bool:
        return self.gathering.may_wait(frames, self.now_s)


def test_the_vote_that_completes_a_quorum_is_the_one_that_does_not_wait() -> None:
    """[F2, F4] Three of four, of which our own is one."""
    crowd = Crowd()
    assert crowd.may_wait(vote(KEYS[0], 1))
    assert crowd.may_wait(vote(KEYS[1], 2)), "another batch"
    assert crowd.may_wait(vote(KEYS[0], 1)), "said before"
    assert not crowd.may_wait(vote(KEYS[1], 1))
    assert crowd.may_wait(vote(KEYS[2], 1)), "there are enough"
    assert not crowd.may_wait(vote(KEYS[2], 1), vote(KEYS[2], 2)), "one of two"


def test_without_a_vote_of_our_own_one_more_is_awaited() -> None:
    crowd = Crowd(own=None)
    assert [crowd.may_wait(vote(key, 1)) for key in KEYS] == [True, True, False, True]


@pytest.mark.parametrize(
    "frame",
    [
        b"\x96\x03nothing",
        vote(KEYS[0], 1, epoch=7),
        BATCH,
        encode_message(BatchBody(b"x")),
        status(7),
    ],
    ids=["no vote", "epoch without a committee", "batch", "small batch", "urgent"],
)
def test_what_is_no_vote_of_a_member_never_waits(frame: bytes) -> None:
    crowd = Crowd()
    assert not crowd.may_wait(frame)
    assert not crowd.may_wait(vote(KEYS[0], 1), frame)


def test_nothing_waits_without_load() -> None:
    crowd = Crowd()
    crowd.now_s += LOAD_S
    assert crowd.may_wait(vote(KEYS[0], 1))
    crowd.now_s += 0.001
    assert not crowd.may_wait(vote(KEYS[0], 2))
    for _ in range(LOAD_BATCHES):
        crowd.may_wait(encode_message(BatchBody(b"a lone payment")))
    assert not crowd.may_wait(vote(KEYS[0], 3))
    crowd.work()
    assert crowd.may_wait(vote(KEYS[0], 4))


def test_what_is_counted_is_bounded() -> None:
    crowd = Crowd()
    assert crowd.may_wait(vote(KEYS[0], 0))
    for number in range(1, BATCHES_MAX + 1):
        crowd.may_wait(vote(KEYS[0], number))
    assert crowd.may_wait(vote(KEYS[1], 0)), "the first is forgotten"
    assert not crowd.may_wait(vote(KEYS[1], BATCHES_MAX))
