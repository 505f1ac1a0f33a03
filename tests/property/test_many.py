"""The models of ledger, pool and wallet once more, with far more examples [T13 of the design]."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from property.test_ledger_model import (
    test_ledger_agrees_with_a_naive_one as ledger_model,
)
from property.test_wallet_model import orders
from property.test_wallet_model import (
    test_wallets_agree_with_an_account_book as wallet_model,
)
from unit.mempool.test_pool import PoolAgainstModel

EXAMPLES: Final = 1_000
LONG_EXAMPLES: Final = 8_000
COUNTS: Final = [
    pytest.param(EXAMPLES, marks=pytest.mark.slow),
    pytest.param(LONG_EXAMPLES, marks=pytest.mark.long),
]


def repeat(model: Any, strategy: Any, count: int) -> None:
    """Run the inside of a property test on so many examples."""
    limit: Any = settings(max_examples=count)
    draw: Any = given(strategy)
    limit(draw(model.hypothesis.inner_test))()


@pytest.mark.parametrize("count", COUNTS)
def test_many_ledgers(count: int) -> None:
    repeat(ledger_model, st.data(), count)


@pytest.mark.parametrize("count", COUNTS)
def test_many_wallets(count: int) -> None:
    repeat(wallet_model, orders, count)


@pytest.mark.parametrize("count", COUNTS)
def test_many_pools(count: int) -> None:
    run_state_machine_as_test(
        PoolAgainstModel, settings=settings(max_examples=count, stateful_step_count=40)
    )
