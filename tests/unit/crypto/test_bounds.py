"""The look at whole columns finds whatever the rule for one signature refuses [M3, 2.8]."""

from lockstep.crypto.keys import are_surely_within_bounds, is_within_bounds
from unit.crypto.signature_fuzz import SignatureFuzz

BESIDE = 3


def test_who_breaks_a_bound_is_found_among_others() -> None:
    """Never the other way round: what the look lets pass, the rule would too."""
    fuzz = SignatureFuzz(11)
    passed = 0
    for key, _, signature in fuzz.checks(4_000):
        others = [fuzz.good() for _ in range(BESIDE)]
        keys, signatures = [other[0] for other in others], [other[2] for other in others]
        assert are_surely_within_bounds(keys, signatures)
        is_let_pass = are_surely_within_bounds([*keys, key], [*signatures, signature])
        assert not is_let_pass or is_within_bounds(key, signature)
        passed += is_let_pass
    # Most of what is drawn is within the bounds, and is not looked at one by one.
    assert passed > 2_000


def test_nothing_is_not_surely_anything() -> None:
    assert not are_surely_within_bounds([], [])
