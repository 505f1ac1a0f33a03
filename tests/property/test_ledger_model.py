"""The ledger against a naive one: any payments, good and bad, over several epochs [L4, L5, L6].

The model is a dict of coins and the words of the clause, with nothing of our code but the encoding.
"""

from dataclasses import dataclass, field
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from building import Chain, lock_of, make_body, make_genesis, sign, verified
from lockstep.errors import Rejected
from lockstep.ledger.coins import Coin, CoinDelta, CoinView
from lockstep.ledger.transition import run_transactions
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import Genesis, genesis_outpoint
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import VerifiedTransaction

KEYS: Final = range(6)
GENESIS: Final = make_genesis(coins=6, amount=1_000_000, closing_every=3)
AMOUNTS: Final = st.sampled_from([0, 1, 545, 546, 547, 10**18, 10**18 + 1, 2**63 - 1])
WITNESSES: Final = st.sampled_from(["right"] * 30 + ["reversed", "missing", "surplus", "foreign"])


@dataclass
class NaiveLedger:
    """All coins, all that were ever spent, and the fees since the last coinbase."""

    genesis: Genesis
    coins: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    spent: list[bytes] = field(default_factory=list)
    fees: int = 0
    height: int = 0

    def fee_of(self, payment: VerifiedTransaction) -> int | None:
        """Return the fee, or None where the payment is not valid now [L4]."""
        body = payment.transaction.body
        if len(set(body.inputs)) < len(body.inputs) or not set(body.inputs) <= set(self.coins):
            return None
        due: list[bytes] = []
        for outpoint in body.inputs:
            if self.coins[outpoint][1] not in due:
                due.append(self.coins[outpoint][1])
        if due != list(payment.locks):
            return None
        amounts = [output.amount for output in body.outputs]
        if min(amounts) < 546 or max(amounts) > 10**18 or sum(amounts) > 10**18:
            return None
        fee = sum(self.coins[outpoint][0] for outpoint in body.inputs) - sum(amounts)
        size = len(encode(payment.transaction))
        return fee if fee >= 1000 and fee >= 4 * size else None

    def apply(self, payment: VerifiedTransaction) -> None:
        for outpoint in payment.transaction.body.inputs:
            del self.coins[outpoint]
            self.spent.append(outpoint)
        self.create(payment)

    def create(self, payment: VerifiedTransaction) -> None:
        for index, output in enumerate(payment.transaction.body.outputs):
            self.coins[make_outpoint(payment.txid, index)] = (output.amount, output.lock)


def draw_payment(data: st.DataObject, model: NaiveLedger) -> VerifiedTransaction:
    """Draw a payment that is right in most things."""
    inputs = data.draw(
        st.lists(st.sampled_from(sorted(model.coins)), min_size=1, max_size=3, unique=True)
    )
    if data.draw(st.integers(0, 9)) == 5:
        inputs.append(data.draw(st.sampled_from([*model.spent[-3:], inputs[0], b"\x77" * 36])))
    owners = {lock_of(key): key for key in (*KEYS, *range(3000, 3004))}
    keys = list(dict.fromkeys(owners[model.coins.get(o, (0, lock_of(0)))[1]] for o in inputs))
    match data.draw(WITNESSES):
        case "reversed":
            keys.reverse()
        case "missing":
            keys.pop()
        case "surplus":
            keys.append(90)
        case "foreign":
            keys[0] = 91
    total = sum(model.coins.get(outpoint, (0, b""))[0] for outpoint in dict.fromkeys(inputs))
    locks = [
        lock_of(key) for key in data.draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    ]
    fee = data.draw(st.sampled_from([5_000] * 9 + [1_000, 999, 0, -1, None, None]))
    chain_id = model.genesis.chain_id
    if fee is None:
        # The least fee exactly, or one less: the size does not change with an amount so near.
        short = data.draw(st.integers(0, 1))
        trial = sign(
            make_body(inputs, [(1_000_000, lock) for lock in locks]), keys, chain_id=chain_id
        )
        fee = max(1_000, 4 * len(encode(trial))) - short
    share = max(546, (total - fee) // len(locks))
    amounts = [share] * (len(locks) - 1)
    amounts.append(max(0, total - fee - sum(amounts)))
    if data.draw(st.integers(0, 9)) == 5:
        amounts[data.draw(st.integers(0, len(locks) - 1))] = data.draw(AMOUNTS)
    body = make_body(inputs, zip(amounts, locks, strict=True))
    return verified(sign(body, keys, chain_id=chain_id))


def is_refused(chain: Chain, payments: list[VerifiedTransaction]) -> bool:
    try:
        chain.check(chain.assemble(payments))
    except Rejected as fault:
        return fault.code.startswith("block.")
    return False


def add_block(chain: Chain, model: NaiveLedger, payments: list[VerifiedTransaction]) -> None:
    """Add a block of those that the model finds valid, one after the other, and compare."""
    good: list[VerifiedTransaction] = []
    bad: VerifiedTransaction | None = None
    fees = 0
    before = dict(model.coins)
    for payment in payments:
        fee = model.fee_of(payment)
        if fee is None:
            bad = payment
            if not chain.closes:
                assert is_refused(chain, [*good, payment])
            continue
        model.apply(payment)
        good.append(payment)
        fees += fee
    closes = chain.closes
    if bad is not None and not closes:
        assert {o: (c.amount, c.lock) for o, c in chain.view.coins.items()} == before
    block = chain.assemble(good, fees=fees)
    issued, burnt = chain.state.issued, chain.state.burnt
    chain.add(block)
    model.fees += fees
    if closes:
        coinbase = block.transactions[0]
        model.create(coinbase)
        paid = sum(output.amount for output in coinbase.transaction.body.outputs)
        new = chain.state.issued - issued - (chain.state.burnt - burnt)
        assert paid == model.fees + new
        model.fees = 0
    compare(chain, model)


def compare(chain: Chain, model: NaiveLedger) -> None:
    """Check that both hold the same coins, and that no base unit came from nowhere [L6]."""
    held = {outpoint: (coin.amount, coin.lock) for outpoint, coin in chain.view.coins.items()}
    assert held == model.coins
    state = chain.state
    total = sum(amount for amount, _ in model.coins.values())
    assert state.coin_sum == total
    assert state.coin_count == len(model.coins)
    assert state.fees_pending == model.fees
    assert total + model.fees == GENESIS.supply + state.issued - state.burnt


@settings(max_examples=40)
@given(st.data())
def test_ledger_agrees_with_a_naive_one(data: st.DataObject) -> None:
    """[L4, L6, N3] Each verdict, each coin, and the supply after every block."""
    chain = Chain(GENESIS)
    model = NaiveLedger(GENESIS)
    for index, coin in enumerate(GENESIS.coins):
        model.coins[genesis_outpoint(GENESIS.chain_id, index)] = (coin.amount, coin.lock)
    for _ in range(data.draw(st.integers(1, 7))):
        payments: list[VerifiedTransaction] = []
        trial = NaiveLedger(GENESIS, dict(model.coins), list(model.spent))
        for _ in range(data.draw(st.integers(0, 4))):
            payment = draw_payment(data, trial)
            payments.append(payment)
            # Later ones may spend what earlier ones make, or make again what they spent.
            if trial.fee_of(payment) is not None:
                trial.apply(payment)
        add_block(chain, model, payments)


@settings(max_examples=60)
@given(st.data())
def test_validity_depends_on_bytes_and_coins_alone(data: st.DataObject) -> None:
    """[L5] A payment judged valid stays so, whatever else is decided, until an input is spent."""
    chain = Chain(GENESIS)
    model = NaiveLedger(GENESIS)
    for index, coin in enumerate(GENESIS.coins):
        model.coins[genesis_outpoint(GENESIS.chain_id, index)] = (coin.amount, coin.lock)
    watched = draw_payment(data, model)
    verdict = model.fee_of(watched) is not None
    kept = set(watched.transaction.body.inputs)
    for _ in range(3):
        other = draw_payment(data, model)
        good = model.fee_of(other) is not None and not kept & set(other.transaction.body.inputs)
        add_block(chain, model, [other] if good else [])
        assert (model.fee_of(watched) is not None) == verdict
        if not chain.closes:
            assert is_refused(chain, [watched]) != verdict


def run_on(
    view: CoinView, payments: list[VerifiedTransaction], known: dict[bytes, int]
) -> tuple[CoinDelta, int] | str:
    """Return what the payments change with their fees, or the refusal in full."""
    fees = [known.get(payment.leaf) for payment in payments] if known else ()
    try:
        return run_transactions(payments, view=view, height=1, has_coinbase=False, known_fees=fees)
    except Rejected as fault:
        return f"{fault.code}: {fault}"


@settings(max_examples=80)
@given(st.data())
def test_a_fee_known_from_before_changes_no_verdict(data: st.DataObject) -> None:
    """[L5, L4] Payments of which some were judged when they came, in an order that may be wrong."""
    chain = Chain(GENESIS)
    model = NaiveLedger(GENESIS)
    for index, coin in enumerate(GENESIS.coins):
        model.coins[genesis_outpoint(GENESIS.chain_id, index)] = (coin.amount, coin.lock)
    payments: list[VerifiedTransaction] = []
    known: dict[bytes, int] = {}
    all_known = data.draw(st.booleans())
    for _ in range(data.draw(st.integers(1, 6))):
        payment = draw_payment(data, model)
        fee = model.fee_of(payment)
        # What the pool holds with its fee was good when it came.
        if fee is not None or not all_known:
            payments.append(payment)
        if fee is not None:
            if all_known or data.draw(st.booleans()):
                known[payment.leaf] = fee
            if data.draw(st.integers(0, 3)):
                # Else a rival for the same coins, just as good, may follow it.
                model.apply(payment)
    block = data.draw(st.permutations(payments)) if data.draw(st.booleans()) else payments
    assert run_on(chain.view, block, known) == run_on(chain.view, block, {})


def test_a_coin_of_the_greatest_supply_can_be_spent() -> None:
    """[L4] Sums at the bound are exact: no float, no overflow."""
    genesis = make_genesis(coins=1, amount=10**18)
    chain = Chain(genesis)
    coin = chain.view.coins[chain.coin(0)]
    assert coin == Coin(10**18, lock_of(0), 0)
    outputs = [(10**18 - 2_000 - 546, lock_of(1)), (546, lock_of(2))]
    payment = verified(sign(make_body([chain.coin(0)], outputs), [0], chain_id=genesis.chain_id))
    chain.add(chain.assemble([payment], fees=2_000))
    chain.grow(3)
    assert (chain.state.issued, chain.state.burnt) == (0, 0)
    assert chain.state.coin_sum == 10**18
