"""A block is valid in one way and invalid in many: each fault is planted in a good one."""

import pytest
from msgspec.structs import replace

from building import Chain, lock_of, output_of, pay, verified
from lockstep.ledger import blocks as blocks_module
from lockstep.ledger.blocks import (
    AssembledBlock,
    make_block,
)
from lockstep.ledger.state import SupplyBroken
from lockstep.primitives import codec
from lockstep.primitives.block import (
    Block,
    CommitCertificate,
    make_block_id,
)
from lockstep.primitives.transaction import VerifiedTransaction
from unit.ledger.planting import (
    FEE,
    FOREIGN,
    chain_at,
    child_of,
    code_of,
    justified,
    reheaded,
    split,
    with_payments,
)


def with_certificate(chain: Chain, certificate: CommitCertificate | None) -> AssembledBlock:
    """Return the next block with another carried certificate and a header that follows."""
    good = chain.assemble()
    return reheaded(chain, replace(good, previous_commit=certificate))


def test_two_epochs_of_payments_and_rewards() -> None:
    """[T4, T7, T8, L6, N3] State and coins after each block are what was paid, made and issued."""
    chain = chain_at(1)
    genesis = chain.genesis
    parent = split(chain)
    chain.add(chain.assemble([parent, child_of(chain, parent)], fees=2 * FEE))
    assert chain.state.fees_pending == 2 * FEE
    assert chain.view.coins[output_of(parent, 1)].height == 1
    assert output_of(parent) not in chain.view.coins
    assert chain.state.coin_count == len(chain.view.coins) == len(genesis.coins) + 1
    chain.grow(2)
    assert chain.closes
    delta = chain.add(chain.assemble([split(chain, 1)], fees=FEE))
    state = chain.state
    assert (state.epoch, state.fees_pending, state.participants) == (1, 0, b"")
    assert state.closing_id == state.block_id
    assert state.closing_time_ms == state.time_ms
    coinbase = [coin.amount for outpoint, coin in delta.created if outpoint[:32] == delta.txids[0]]
    assert len(coinbase) == 4
    assert sum(coinbase) == state.issued + 3 * FEE - state.burnt
    chain.grow(4)
    assert chain.state.epoch == 2
    total = sum(coin.amount for coin in chain.view.coins.values())
    assert chain.state.coin_sum == total
    assert total == genesis.supply + chain.state.issued - chain.state.burnt


def test_delta_is_net() -> None:
    """[T8] What was made and spent within the block appears in neither list."""
    chain = chain_at(1)
    parent = split(chain)
    child = child_of(chain, parent)
    delta = chain.add(chain.assemble([parent, child], fees=2 * FEE))
    assert [outpoint for outpoint, _ in delta.spent] == [chain.coin(0)]
    assert [outpoint for outpoint, _ in delta.created] == [output_of(parent, 1), output_of(child)]
    assert delta.txids == (parent.txid, child.txid)


def test_block_survives_its_encoding() -> None:
    """[L8, T2]."""
    chain = chain_at(4)
    block = make_block(chain.assemble([split(chain)], fees=FEE))
    again = codec.decode(Block, codec.encode(block), size_max=10**6)
    assert again == block
    rebuilt = AssembledBlock(
        again.header,
        again.previous_commit,
        tuple(map(verified, again.transactions)),
        again.justification,
    )
    assert code_of(chain, rebuilt) == ""


@pytest.mark.parametrize("height", [1, 2, 4, 5])
def test_every_header_field_is_judged(height: int) -> None:
    """[T2, T3]."""
    chain = chain_at(height)
    block = chain.assemble()
    assert code_of(chain, block) == ""
    for field in block.header.__struct_fields__:
        value = getattr(block.header, field)
        if field == "closing":
            wrong: list[object] = [chain_at(4).assemble().header.closing, None]
            wrong = [other for other in wrong if (other is None) != (value is None)]
        elif isinstance(value, int):
            wrong = [value + 1, value - 1]
        else:
            wrong = [FOREIGN]
        for other in wrong:
            bad = replace(block, header=replace(block.header, **{field: other}))
            assert code_of(chain, bad) == "block.header", field


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("next_set_hash", "block.header"),
        ("state_commitment", "block.commitment"),
        ("justification_members", "block.header"),
        ("justification_hash", "block.header"),
    ],
)
def test_every_closing_field_is_judged(field: str, code: str) -> None:
    """[T2, S1]."""
    chain = chain_at(4)
    block = chain.assemble()
    assert block.header.closing is not None
    closing = replace(block.header.closing, **{field: FOREIGN})
    bad = replace(block, header=replace(block.header, closing=closing))
    assert code_of(chain, bad) == code


def test_any_member_may_be_named_as_proposer() -> None:
    """[T2] The rotation binds fresh proposals only, so that every round's value stays valid."""
    chain = chain_at(4)
    for member in chain.committee.members:
        assert code_of(chain, chain.assemble(proposer=member.member_id)) == ""


def test_carried_certificate() -> None:
    """[T2] One for the block below, by distinct members of quorum weight."""
    chain = chain_at(3, weights=(4, 3, 2, 2))
    good = chain.certificate
    assert good is not None
    entries = good.signatures
    weights = [chain.committee.weight_of(entry.voter) for entry in entries]
    heavy = tuple(e for e, weight in zip(entries, weights, strict=True) if weight > 2)
    light = tuple(e for e, weight in zip(entries, weights, strict=True) if weight == 2)
    code = "block.previous_commit"
    cases = [
        (good, ""),
        (replace(good, signatures=entries[::-1]), ""),
        (replace(good, round=3), ""),
        (replace(good, signatures=(*heavy, light[0])), ""),
        (replace(good, signatures=heavy), code),
        (replace(good, signatures=(*heavy, heavy[0])), code),
        (replace(good, signatures=(*entries, entries[0])), code),
        (replace(good, signatures=(*entries, replace(entries[0], voter=FOREIGN))), code),
        (replace(good, height=good.height - 1), code),
        (replace(good, block_id=FOREIGN), code),
        (None, code),
    ]
    for certificate, expected in cases:
        assert code_of(chain, with_certificate(chain, certificate)) == expected


def test_first_block_carries_no_certificate() -> None:
    """[T2]."""
    certificate = chain_at(2).certificate
    chain = chain_at(1)
    bad = replace(chain.assemble(), previous_commit=certificate)
    assert code_of(chain, bad) == "block.previous_commit"


def test_payments_stand_in_topological_order_and_once() -> None:
    """[T2, T4]."""
    chain = chain_at(2)
    parent = split(chain)
    child = child_of(chain, parent)
    assert code_of(chain, with_payments(chain, [parent, child])) == ""
    assert code_of(chain, with_payments(chain, [child, parent])) == "block.order"
    assert code_of(chain, with_payments(chain, [parent, parent])) == "block.duplicate"
    assert code_of(chain, with_payments(chain, [child])) == "block.transaction"


def test_payments_are_judged_where_they_stand() -> None:
    """[L4, T4] Double spends, spent coins, wrong fees, another chain's coins, unknown indices."""
    chain = chain_at(2)
    id_ = chain.genesis.chain_id
    first = split(chain)
    amount = chain.genesis.coins[0].amount
    rival = pay([(chain.coin(0), 0)], [(amount - FEE, lock_of(60))], chain_id=id_)
    bad = "block.transaction"
    assert code_of(chain, with_payments(chain, [first, rival])) == bad
    cheap = pay([(chain.coin(0), 0)], [(amount - 1, lock_of(60))], chain_id=id_)
    assert code_of(chain, with_payments(chain, [cheap])) == bad
    thief = pay([(chain.coin(0), 1)], [(amount - FEE, lock_of(60))], chain_id=id_)
    assert code_of(chain, with_payments(chain, [thief])) == bad
    ghost = pay([(output_of(first, 2), 50)], [(1_000_000, lock_of(60))], chain_id=id_)
    assert code_of(chain, with_payments(chain, [first, ghost])) == bad
    dusty = pay([(chain.coin(0), 0)], [(amount - FEE, lock_of(60)), (1, lock_of(61))], chain_id=id_)
    assert code_of(chain, with_payments(chain, [dusty])) == bad
    chain.add(with_payments(chain, [first]))
    assert code_of(chain, with_payments(chain, [rival])) == bad
    assert code_of(chain, with_payments(chain, [first])) == bad


def test_capacity_by_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """[F6, T6] The bytes of transactions are bounded, in a closing block by another number."""
    for height, name in ((2, "ORDINARY_BLOCK_BYTES_MAX"), (4, "CLOSING_BLOCK_BYTES_MAX")):
        chain = chain_at(height)
        block = with_payments(chain, [split(chain)])
        size = sum(item.size_bytes for item in block.transactions)
        with monkeypatch.context() as patch:
            patch.setattr(blocks_module, name, size)
            assert code_of(chain, block) == ""
            patch.setattr(blocks_module, name, size - 1)
            assert code_of(chain, block) == "block.size"


def test_coinbase_is_exactly_the_one_due() -> None:
    """[N3, L4] Not missing, not changed, not elsewhere, not in an ordinary block."""
    chain = chain_at(4)
    good = with_payments(chain, [split(chain)])
    coinbase, payment = good.transactions
    body = coinbase.transaction.body

    def with_transactions(*items: VerifiedTransaction) -> AssembledBlock:
        empty = tuple(replace(p, bitmap=bytes((len(items) + 7) // 8)) for p in good.justification)
        return reheaded(chain, replace(good, transactions=items, justification=empty))

    greedy = replace(body.outputs[0], amount=body.outputs[0].amount + 1)
    changes: list[dict[str, object]] = [
        {"outputs": (greedy, *body.outputs[1:])},
        {"outputs": body.outputs[::-1]},
        {"outputs": body.outputs[:-1]},
        {"memo": codec.encode(8)},
        {"version": 2},
    ]
    for change in changes:
        forged = verified(replace(coinbase.transaction, body=replace(body, **change)))
        assert code_of(chain, with_transactions(forged, payment)) == "block.coinbase"
    witnessed = verified(replace(coinbase.transaction, witnesses=payment.transaction.witnesses))
    assert code_of(chain, with_transactions(witnessed, payment)) == "block.coinbase"
    assert code_of(chain, with_transactions(payment)) == "block.coinbase"
    assert code_of(chain, with_transactions()) == "block.coinbase"
    assert code_of(chain, with_transactions(payment, coinbase)) == "block.transaction"
    ordinary = chain_at(2)
    assert code_of(ordinary, with_payments(ordinary, [coinbase])) == "block.transaction"


def test_nothing_spends_the_coinbase_of_its_own_block() -> None:
    """[N3]."""
    chain = chain_at(4)
    coinbase = chain.assemble().transactions[0]
    early = pay([(output_of(coinbase), 3000)], [(10_000, lock_of(60))], chain_id=FOREIGN)
    assert code_of(chain, with_payments(chain, [early])) == "block.transaction"


def test_participants_are_those_whose_signatures_were_carried() -> None:
    """[N3] Precommits in carried certificates and FREEZEs in J, counted over the epoch."""
    chain = chain_at(2)
    for chosen in ((0, 1, 2), (0, 1, 2)):
        assert chain.certificate is not None
        chain.certificate = replace(
            chain.certificate,
            signatures=tuple(chain.certificate.signatures[i] for i in chosen),
        )
        chain.add(chain.assemble())
    assert chain.state.participants == b"\x07"
    assert chain.certificate is not None
    chain.certificate = replace(chain.certificate, signatures=chain.certificate.signatures[:3])
    absent = chain.committee.members[3]
    assert chain.proposer() != absent.member_id
    paid = chain.add(justified(chain, {0: (), 1: (), 2: ()}))
    locks = {coin.lock for _, coin in paid.created}
    assert locks == {member.payout_lock for member in chain.committee.members[:3]}


def test_a_freeze_in_the_justification_is_participation_enough() -> None:
    """[N3] A member whose precommits came too late for every certificate is paid for its FREEZE."""
    chain = chain_at(2)
    early = chain.committee.members[0].member_id
    late = chain.committee.members[3]
    paid: set[bytes] = set()
    for _ in range(3):
        assert chain.certificate is not None
        quorum = chain.certificate.signatures[:3]
        chain.certificate = replace(chain.certificate, signatures=quorum)
        paid = {coin.lock for _, coin in chain.add(chain.assemble(proposer=early)).created}
    assert late.payout_lock in paid


def test_a_broken_supply_stops_the_node() -> None:
    """[L6]."""
    chain = chain_at(2)
    chain.state = replace(chain.state, coin_sum=chain.state.coin_sum + 1)
    with pytest.raises(SupplyBroken):
        chain.check(chain.assemble())


def test_refused_block_changes_nothing() -> None:
    """All or nothing: judging writes nowhere."""
    chain = chain_at(2)
    before = (dict(chain.view.coins), chain.state)
    parent = split(chain)
    assert code_of(chain, with_payments(chain, [parent, parent])) != ""
    assert code_of(chain, with_payments(chain, [parent])) == ""
    assert (chain.view.coins, chain.state) == before


def test_block_id_covers_every_field() -> None:
    """[T2]."""
    header = chain_at(4).assemble().header
    ids = {make_block_id(header)}
    for field in header.__struct_fields__:
        value = getattr(header, field)
        other = None if field == "closing" else value + 1 if isinstance(value, int) else FOREIGN
        ids.add(make_block_id(replace(header, **{field: other})))
    assert len(ids) == 1 + len(header.__struct_fields__)
