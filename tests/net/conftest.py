"""Each scenario runs on both event loops."""

from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from net.party import LOOPS, run_on

Run = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=sorted(LOOPS))
def run(request: pytest.FixtureRequest) -> Run:
    """Return what runs a scenario on one of the loops and checks that nothing is left."""
    return partial(run_on, request.param)
