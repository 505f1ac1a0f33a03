"""The network of cores that `lockstep bench finality` times makes every payment final."""

from collections.abc import Sequence

import pytest

from lockstep.bench.finality import measure_network
from lockstep.crypto.keys import SignatureCheck, SodiumVerifier
from lockstep.errors import Misuse


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1, 10, 100, 1, 10]])
def test_each_node_judges_each_payment_once_and_calls_it_final(weights: list[int]) -> None:
    found = measure_network(weights, SodiumVerifier(), batches=2)
    others = 1 - 1 / len(weights)
    assert others <= found["signatures_per_tx_node"] < others + 0.25
    assert found["blocks"] >= 1
    parts = [found[name] for name in found if name.startswith("core")]
    assert sum(parts) + found["opening"] < found["cpu_us_per_tx_node"]


def test_a_network_that_refuses_signatures_is_no_result() -> None:
    with pytest.raises(Misuse, match="an honest network brought"):
        measure_network([1, 1, 1, 1], _Refusing(), batches=1)


class _Refusing(SodiumVerifier):
    """Finds no signature good."""

    def verify_many(self, checks: Sequence[SignatureCheck]) -> list[bool]:
        return [False] * len(checks)
