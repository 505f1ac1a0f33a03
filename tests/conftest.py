"""Fixtures and settings that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# In CI the examples are the same each time, so that a change is judged by what it changed; at a
# developer's desk they are new each time, and a failure prints the blob that replays it.
# No example is too slow: that would be a verdict on the machine.
settings.register_profile(
    "desk",
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "desk")


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Return the directory of the external vectors; skip where a user's clone has none."""
    checkout = Path(__file__).resolve().parent.parent
    place = Path(os.environ.get("LOCKSTEP_VECTORS", checkout.parent / "shared" / "vectors"))
    if not place.is_dir():
        sentence = f"the external vectors are not at {place}; LOCKSTEP_VECTORS can name them"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return place
