"""Wallets against an account book: what they build the ledger takes, to the unit [L3, L4, L6].

The book knows nothing of coins: a payment takes its amount and fee from one balance and adds the
amount to another one.
"""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from building import VERIFIER, Chain, lock_of, make_genesis, secret
from lockstep.errors import Rejected
from lockstep.primitives.codec import encode
from lockstep.primitives.params import DUST
from lockstep.primitives.transaction import (
    Batch,
    Policy,
    TransactionOutput,
    VerifiedTransaction,
    make_lock,
)
from lockstep.replica.ingress import prepare_batch
from lockstep.wallet.spend import (
    InsufficientCoins,
    Payment,
    Spendable,
    build_payment,
    sign_payment,
)

AMOUNT: Final = 1_000_000
GENESIS: Final = make_genesis(coins=3, amount=AMOUNT, closing_every=3)
KEYS: Final = {secret(number).public_key: secret(number) for number in range(3)}
POLICIES: Final = (
    *(Policy(1, (key,)) for key in KEYS),
    Policy(2, tuple(KEYS)),
)
LOCKS: Final = tuple(make_lock(policy) for policy in POLICIES)
assert LOCKS[:3] == tuple(lock_of(number) for number in range(3))

amounts = st.one_of(st.integers(DUST, 3_000), st.integers(DUST, AMOUNT))
orders = st.lists(
    st.tuples(st.sampled_from(range(4)), st.sampled_from(range(4)), amounts, st.booleans()),
    min_size=1,
    max_size=12,
)


def coins_of(chain: Chain, wallet: int) -> list[Spendable]:
    """Return the coins under a wallet's lock, as a node would list them."""
    return [
        Spendable(outpoint, coin.amount, POLICIES[wallet])
        for outpoint, coin in sorted(chain.view.coins.items())
        if coin.lock == LOCKS[wallet]
    ]


def submit(payment: Payment) -> VerifiedTransaction:
    """Sign a payment and bring it through the door that all payments take."""
    transaction = sign_payment(payment, KEYS, chain_id=GENESIS.chain_id)
    body = encode(Batch((transaction,)))
    batch = prepare_batch(body, chain_id=GENESIS.chain_id, verifier=VERIFIER)
    assert batch.faults == {}
    (taken,) = batch.transactions
    assert taken is not None
    return taken


def is_refused(chain: Chain, payments: list[VerifiedTransaction]) -> bool:
    try:
        chain.check(chain.assemble(payments))
    except Rejected:
        return True
    return False


def compare(chain: Chain, book: list[int]) -> None:
    for wallet, balance in enumerate(book):
        assert sum(coin.amount for coin in coins_of(chain, wallet)) == balance


@settings(max_examples=30)
@given(orders)
def test_wallets_agree_with_an_account_book(steps: list[tuple[int, int, int, bool]]) -> None:
    """[L4, L6] Each order is paid and booked, or the book cannot cover it."""
    chain = Chain(GENESIS)
    book = [AMOUNT] * 3 + [0]
    for payer, payee, amount, twice in steps:
        if chain.closes:
            chain.grow(1)
        coins = coins_of(chain, payer)
        output = TransactionOutput(amount, LOCKS[payee])
        try:
            payment = build_payment(coins, [output], change_lock=LOCKS[payer])
        except InsufficientCoins:
            room = 4 * (1_000 + 45 * len(coins))
            assert book[payer] < amount + room
            chain.grow(1)
            continue
        paid = submit(payment)
        if twice:
            # The same coins again, to oneself: the wallet does not know, but the ledger does.
            back = TransactionOutput(DUST, LOCKS[payer])
            rival = submit(build_payment(payment.coins, [back], change_lock=LOCKS[payer]))
            if rival.txid != paid.txid:
                shared = set(rival.transaction.body.inputs) & set(paid.transaction.body.inputs)
                assert shared
                assert is_refused(chain, [paid, rival])
        chain.add(chain.assemble([paid], fees=payment.fee))
        book[payer] -= amount + payment.fee
        book[payee] += amount
        compare(chain, book)
    total = sum(coin.amount for coin in chain.view.coins.values())
    assert total + chain.state.fees_pending == chain.genesis.supply + chain.state.issued
