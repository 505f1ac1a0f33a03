"""The benchmark of the sum of the coins works on what it says, and its parts end."""

from lockstep.bench.lthash import make_variants


def test_every_variant_handles_the_elements_it_counts() -> None:
    """[S1]."""
    variants = make_variants(coins=600, payments=20)
    assert {name: variant.items for name, variant in variants.items()} == {
        "fold 1": 1,
        "fold 100": 100,
        "a slice of the loop": 100,
        "rebuild 600 coins": 600,
        "gather, a payment": 20,
    }
    totals = [variant.work() for variant in list(variants.values())[:-1]]
    assert len(set(totals)) == len(totals)
    variants["gather, a payment"].work()
