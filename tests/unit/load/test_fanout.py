"""From a few coins come the coins that every purse wants, and money is neither made nor lost."""

from collections import deque

import pytest

from lockstep.crypto.keys import SecretKey, SodiumVerifier
from lockstep.load.fanout import Fountain, NoFunds, Want, gather_lanes, plan_wants
from lockstep.load.payments import Coin, Kind, Purse, make_multisig, make_single
from lockstep.primitives.codec import decode
from lockstep.primitives.params import COIN, DUST
from lockstep.primitives.transaction import (
    OUTPUTS_MAX,
    TRANSACTION_BYTES_MAX,
    Transaction,
    make_spend_digest,
    make_txid,
)
from lockstep.wallet.spend import fee_for

CHAIN = bytes(32)
KEYS = [SecretKey(bytes([number]) * 32) for number in range(3)]
OWN = make_single(KEYS[0])


def purse(kind: Kind) -> Purse:
    shapes = {
        Kind.ONE: [OWN],
        Kind.TWO: [OWN, make_single(KEYS[1])],
        Kind.CONFLICTING: [OWN],
        Kind.MULTISIG: [make_multisig(KEYS, 2)],
    }
    return Purse(kind, shapes[kind], payee_lock=bytes(32), chain_id=CHAIN)


def fund(count: int, amount: int) -> tuple[Fountain, dict[bytes, int]]:
    coins: list[Coin] = [(number.to_bytes(36, "big"), amount) for number in range(count)]
    fountain = Fountain(CHAIN)
    fountain.add(OWN, coins)
    return fountain, dict(coins)


def drain(
    fountain: Fountain, wants: deque[Want], known: dict[bytes, int]
) -> list[tuple[Want, Coin]]:
    """Make everything wanted, checking every transaction as a node would."""
    made: list[tuple[Want, Coin]] = []
    while wants:
        for fan_out in fountain.next_round(wants):
            transaction = decode(Transaction, fan_out.raw, size_max=TRANSACTION_BYTES_MAX)
            body = transaction.body
            txid = make_txid(body)
            assert txid.hex() == fan_out.txid
            spent = sum(known.pop(outpoint) for outpoint in body.inputs)
            paid = sum(output.amount for output in body.outputs)
            assert spent - paid >= fee_for(len(fan_out.raw))
            assert all(output.amount >= DUST for output in body.outputs)
            assert len(body.outputs) <= OUTPUTS_MAX
            digest = make_spend_digest(CHAIN, txid)
            [witness] = transaction.witnesses
            assert SodiumVerifier().verify_many(
                [(KEYS[0].public_key, digest, witness.signatures[0])]
            ) == [True]
            fountain.add(fan_out.policy, fan_out.funds)
            known.update(fan_out.funds)
            made += fan_out.made
    return made


@pytest.mark.parametrize("kind", [Kind.ONE, Kind.TWO, Kind.CONFLICTING, Kind.MULTISIG])
@pytest.mark.parametrize(("coins", "amount"), [(1, 1_000 * COIN), (60, COIN), (700, COIN // 20)])
def test_lanes_are_made_of_few_or_of_small_coins(kind: Kind, coins: int, amount: int) -> None:
    fountain, known = fund(coins, amount)
    wanted = purse(kind)
    wants = plan_wants(wanted, 300, payments=300, funds=fountain.total)
    made = drain(fountain, wants, known)
    [(owner, lanes)] = gather_lanes(made)
    assert owner is wanted
    assert len(lanes) == 300
    wanted.add_lanes(lanes)
    assert len(wanted) == 300
    assert all(len(lane) == len(wanted.locks) for lane in lanes)


def test_without_enough_money_it_says_so() -> None:
    fountain, _ = fund(1, 50_000)
    wanted = purse(Kind.ONE)
    with pytest.raises(NoFunds, match="50000 base units"):
        drain(fountain, plan_wants(wanted, 300, payments=300, funds=50_000), {})


def test_a_lane_holds_what_its_payments_cost_where_the_funds_allow_no_more() -> None:
    wanted = purse(Kind.ONE)
    each = wanted.least - DUST
    funds = 100 * 10 * each
    [first, *_] = plan_wants(wanted, 100, payments=900, funds=funds)
    assert first.amount == 10 * each + DUST
