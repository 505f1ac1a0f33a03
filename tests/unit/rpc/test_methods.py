"""Methods: pages, amounts, the states a payment goes through, and the gap between core and disk."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fake_node import (
    COMMITTEE,
    GENESIS,
    LOCK,
    OWN,
    FakeNode,
    make_confirm,
    make_hash,
    make_payment,
    make_pending,
    until,
)
from lockstep.crypto.address import format_address
from lockstep.ledger.coins import Coin
from lockstep.primitives import codec
from lockstep.primitives.block import Block, BlockHeader, CommitCertificate, make_block_id
from lockstep.primitives.genesis import genesis_outpoint, parse_genesis
from lockstep.primitives.ids import make_outpoint
from lockstep.primitives.transaction import Transaction, make_txid
from lockstep.primitives.votes import Vote
from lockstep.replica.answers import (
    CoinAnswer,
    CoinState,
    PaymentState,
    RefusedPayment,
    VotingAnswer,
    VotingState,
)
from lockstep.replica.effects import BlockAdded, TransactionsFinal, TransactionsRefused
from lockstep.rpc.dispatch import Dispatcher
from lockstep.rpc.service import WAITERS_MAX
from lockstep.rpc.table import METHODS
from unit.ledger.accusing import Accuser

ADDRESS = format_address("dls", LOCK)


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    return FakeNode(tmp_path)


async def call(node: FakeNode, method: str, **named: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": named}
    reply = await Dispatcher(node.service, METHODS).dispatch(msgspec.json.encode(body))
    return msgspec.json.decode(reply.body)["result"]


async def all_pages(node: FakeNode, method: str, **named: Any) -> tuple[list[Any], int]:
    items: list[Any] = []
    pages = 0
    cursor: str | None = ""
    while cursor is not None:
        page = await call(node, method, **named, cursor=cursor)
        items, pages, cursor = items + page["items"], pages + 1, page["cursor"]
    return items, pages


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 100])
async def test_pages_of_the_pool_hold_each_payment_once(node: FakeNode, limit: int) -> None:
    for i in range(7):
        pending = make_pending(make_payment(str(i)))
        node.view.pendings[pending.txid] = pending
    txids, pages = await all_pages(node, "getrawmempool", limit=limit)
    entries, _ = await all_pages(node, "getrawmempool", limit=limit, verbose=True)
    assert txids == sorted(txid.hex() for txid in node.view.pendings)
    assert [entry["txid"] for entry in entries] == txids
    assert pages == -(-7 // limit)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 8, 9])
async def test_pages_of_coins_hold_each_coin_once(node: FakeNode, limit: int) -> None:
    other = make_hash("other lock")
    for i in range(6):
        lock = other if i & 1 else LOCK
        node.readers.coins[make_outpoint(make_hash(f"coin {i}"), i)] = Coin(1_000 + i, lock, 0)
    for i in range(3):
        outpoint = make_outpoint(make_hash(f"incoming {i}"), 0)
        node.view.incoming.append((outpoint, 500 + i, PaymentState.FINAL))
    addresses = [ADDRESS, format_address("dls", other)]
    items, _ = await all_pages(node, "listunspent", addresses=addresses, limit=limit)
    assert len(items) == 9
    assert sorted(item["amount_units"] for item in items) == [500, 501, 502, *range(1_000, 1_006)]
    assert [item["address"] for item in items] == [addresses[0]] * 6 + [addresses[1]] * 3
    assert [item["payment_state"] for item in items[:4]] == ["final"] * 3 + [None]
    settled, _ = await all_pages(node, "listunspent", addresses=addresses, limit=limit, minconf=1)
    assert settled == [item for item in items if item["height"] is not None]


async def test_the_coin_set_names_the_last_commitment(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[S1] None in the first epoch, which no closing block has ended."""
    names = ("state_commitment", "commitment_height", "commitment_block")
    first = await call(node, "gettxoutsetinfo")
    assert [first[name] for name in names] == [None, None, None]
    state = replace(
        node.readers.state(),
        epoch=2,
        state_commitment=make_hash("state"),
        summed_height=10,
        closing_id=make_hash("closing"),
    )
    monkeypatch.setattr(node.readers, "state", lambda: state)
    info = await call(node, "gettxoutsetinfo")
    assert [info[name] for name in names] == [
        make_hash("state").hex(),
        10,
        make_hash("closing").hex(),
    ]
    assert (info["txouts"], info["total_units"]) == (state.coin_count, state.coin_sum)


async def test_a_coin_that_is_being_spent_says_so(node: FakeNode) -> None:
    outpoint = make_outpoint(make_hash("coin"), 1)
    spender = make_hash("spender")
    node.readers.coins[outpoint] = Coin(10**16, LOCK, 0)
    free = await call(node, "listunspent", addresses=[ADDRESS])
    assert (free["items"][0]["state"], free["items"][0]["spender"]) == ("Unspent", None)
    assert (await call(node, "gettxout", txid=make_hash("coin").hex(), n=1))["value"] == 1e8
    node.view.spenders[outpoint] = spender
    node.view.answers[outpoint] = CoinAnswer(CoinState.SPENT_PENDING, 10**16, LOCK, 0, spender)
    held = await call(node, "listunspent", addresses=[ADDRESS])
    assert held["items"][0]["state"] == "SpentPending"
    assert held["items"][0]["spender"] == spender.hex()
    assert await call(node, "gettxout", txid=make_hash("coin").hex(), n=1) is None
    chain_only = {"txid": make_hash("coin").hex(), "n": 1, "include_mempool": False}
    assert (await call(node, "gettxout", **chain_only))["amount_units"] == 10**16
    state = await call(node, "getutxostate", txid=make_hash("coin").hex(), index=1)
    assert (state["state"], state["spender"]) == ("SpentPending", spender.hex())
    balance = await call(node, "getaddressbalance", addresses=[ADDRESS, ADDRESS])
    assert (balance["confirmed_units"], balance["spending_units"]) == (0, 10**16)


async def test_a_coin_spent_in_a_block_is_still_described(node: FakeNode) -> None:
    payment = make_payment("a", amount=7_777)
    node.readers.blocks.append(node.decide(payment))
    made = [(make_txid(payment.body), 7_777), (genesis_outpoint(GENESIS.chain_id, 0)[:32], 10**16)]
    for txid, amount in made:
        for index in (0, 1):
            # The view knows the transaction, not how many outputs it had.
            spent = CoinAnswer(CoinState.CONFIRMED, 0, b"", 1, None)
            node.view.answers[make_outpoint(txid, index)] = spent
        answer = await call(node, "getutxostate", txid=txid.hex(), index=0)
        assert (answer["state"], answer["amount_units"]) == ("Confirmed", amount)
        assert answer["address"] == ADDRESS
        with pytest.raises(KeyError):
            await call(node, "getutxostate", txid=txid.hex(), index=1)


async def test_finality_through_all_states(node: FakeNode) -> None:
    payment = make_payment("a")
    txid = make_txid(payment.body)

    async def finality() -> Any:
        return await call(node, "gettransactionfinality", txid=txid.hex())

    assert ((await finality())["state"], (await finality())["final"]) == ("unknown", False)
    node.view.refusals[txid] = RefusedPayment(txid, "tx.fee", "the fee is too low", 5)
    assert (await finality())["refusal"]["code"] == "tx.fee"
    for state in (PaymentState.WAITING, PaymentState.VOTED, PaymentState.CERTIFIED):
        node.view.pendings[txid] = make_pending(payment, state)
        assert ((await finality())["state"], (await finality())["final"]) == (state, False)
    node.view.pendings[txid] = make_pending(payment, PaymentState.FINAL)
    node.view.final.add(txid)
    live = await finality()
    assert (live["state"], live["final"], live["quorum"], live["total_weight"]) == (
        "final",
        True,
        3,
        4,
    )
    confirms = [codec.decode(Vote, bytes.fromhex(text), size_max=999) for text in live["confirms"]]
    assert confirms == [make_confirm(i) for i in range(3)]
    assert live["voters"] == [member.member_id.hex() for member in COMMITTEE.members[:2]]
    del node.view.pendings[txid]
    decided = node.decide(payment)
    node.readers.blocks.append(decided)
    proved = await finality()
    assert (proved["state"], proved["final"], proved["block"]["height"]) == ("confirmed", True, 1)
    commit = bytes.fromhex(proved["block"]["certificate"]["hex"])
    assert codec.decode(CommitCertificate, commit, size_max=9999) == decided.certificate


@pytest.mark.parametrize("method", ["gettransactionfinality", "getrawtransaction"])
async def test_a_payment_just_decided_is_never_lost_between_core_and_disk(
    node: FakeNode, method: str
) -> None:
    payment = make_payment("a")
    node.view.ahead = node.decide(payment)
    named = {"verbose": True} if method == "getrawtransaction" else {}
    answer = await call(node, method, txid=make_txid(payment.body).hex(), **named)
    assert answer["state"] == "confirmed"


async def test_waiting_ends_with_the_notice(node: FakeNode) -> None:
    txid = make_txid(make_payment("a").body)

    async def wait() -> Any:
        return await call(node, "waittransactionfinality", txid=txid.hex(), timeout_ms=20_000)

    waits = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    node.service.hear(TransactionsFinal((make_hash("other"),), 0, 3, ()))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waits)
    node.view.final.add(txid)
    node.service.hear(TransactionsFinal((txid,), 0, 3, ()))
    answers = await asyncio.gather(*waits)
    assert [(row["final"], row["timed_out"]) for row in answers] == [(True, False)] * 3
    assert (await wait())["final"]


@pytest.mark.parametrize("kind", ["block", "refused", "stop"])
async def test_waiting_ends_with_a_block_a_refusal_or_the_stop(node: FakeNode, kind: str) -> None:
    payment = make_payment("a")
    txid = make_txid(payment.body)
    named = {"txid": txid.hex(), "timeout_ms": 20_000}
    wait = asyncio.create_task(call(node, "waittransactionfinality", **named))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if kind == "block":
        node.readers.blocks.append(node.decide(payment))
        node.service.hear(BlockAdded(1, make_hash("b"), 0, False, 1, (txid,), 0, False))
    elif kind == "refused":
        node.view.refusals[txid] = RefusedPayment(txid, "tx.fee", "low", 5)
        node.service.hear(TransactionsRefused(((txid, "tx.fee", "low"),)))
    else:
        node.service.close()
    answer = await wait
    assert answer["state"] == {"block": "confirmed", "refused": "refused", "stop": "unknown"}[kind]


async def test_a_bad_copy_of_a_payment_ends_no_wait(node: FakeNode) -> None:
    payment = make_payment("a")
    txid = make_txid(payment.body)
    node.view.pendings[txid] = make_pending(payment)
    node.view.refusals[txid] = RefusedPayment(txid, "tx.signature", "bad", 5)
    named = {"txid": txid.hex(), "timeout_ms": 20_000}
    wait = asyncio.create_task(call(node, "waittransactionfinality", **named))
    await until(lambda: node.service._waiting == 1)
    node.service.hear(TransactionsRefused(((txid, "tx.signature", "bad"),)))
    await asyncio.sleep(0)
    assert not wait.done()
    node.view.final.add(txid)
    node.service.hear(TransactionsFinal((txid,), 0, 3, ()))
    assert (await wait)["state"] == "final"


async def test_waiting_times_out_and_leaves_nothing_behind(node: FakeNode) -> None:
    answer = await call(node, "waittransactionfinality", txid="ab" * 32, timeout_ms=1)
    assert (answer["timed_out"], answer["state"]) == (True, "unknown")
    assert node.service._waiters == {}
    assert node.service._waiting == 0


async def test_waiters_are_bounded(node: FakeNode) -> None:
    node.service._waiting = WAITERS_MAX
    body = b'{"id":1,"method":"waittransactionfinality","params":["' + b"ab" * 32 + b'"]}'
    reply = await Dispatcher(node.service, METHODS).dispatch(body)
    assert b"rpc.waiters" in reply.body


async def test_blocks_can_be_rebuilt_from_what_is_shown(node: FakeNode) -> None:
    payments = [make_payment("a"), make_payment("b", memo=b"hello")]
    for block in ([payments[0]], [payments[1]]):
        node.readers.blocks.append(node.decide(*block))
    first = await call(node, "getblockhash", height=1)
    decided = node.readers.blocks[0]
    raw = bytes.fromhex(await call(node, "getblock", blockhash=first, verbosity=0))
    assert codec.decode(Block, raw, size_max=9999) == decided.block
    raw = bytes.fromhex(await call(node, "getblockheader", blockhash=first, verbose=False))
    header = codec.decode(BlockHeader, raw, size_max=9999)
    assert make_block_id(header).hex() == first
    shown = await call(node, "getblock", blockhash=first)
    assert shown["tx"] == [make_txid(payments[0].body).hex()]
    assert shown["nextblockhash"] == await call(node, "getbestblockhash")
    assert (shown["confirmations"], shown["nTx"], shown["evidence"]) == (2, 1, [])
    whole = await call(node, "getblock", blockhash=shown["nextblockhash"], verbosity=2)
    assert whole["tx"][0]["memo"] == b"hello".hex()
    assert "nextblockhash" not in whole
    text = await call(node, "getrawtransaction", txid=whole["tx"][0]["txid"])
    assert codec.decode(Transaction, bytes.fromhex(text), size_max=9999) == payments[1]


async def test_evidence_in_a_block_is_named(node: FakeNode) -> None:
    """[N4] And who is accused is told in the list of masternodes."""
    piece = Accuser(GENESIS).freezes(1)
    decided = node.decide()
    block = replace(decided.block, evidence=(codec.encode(piece),))
    node.readers.blocks.append(replace(decided, block=block))
    shown = await call(node, "getblock", blockhash=decided.certificate.block_id.hex())
    member = piece.member.hex()
    assert shown["evidence"] == [{"kind": "ConflictingFreezes", "member": member, "epoch": 0}]
    rows, _ = await all_pages(node, "masternodelist")
    assert [(row["own"], row["evidence"], row["accused"]) for row in rows] == [
        (True, [], [1]),
        *[(False, [], [])] * 3,
    ]


async def test_genesis_is_given_whole(node: FakeNode) -> None:
    answer = await call(node, "getgenesis")
    assert parse_genesis_leniently(answer["file"]) == GENESIS.chain_id.hex() == answer["chain_id"]
    assert await call(node, "getblockhash", height=0) == answer["chain_id"]


def parse_genesis_leniently(text: str) -> str:
    """Hash the file's content; the test's keys are no curve points, which parsing would refuse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lockstep.primitives.genesis.check_genesis", lambda _: None)
        return parse_genesis(text.encode()).chain_id.hex()


async def test_masternodes_say_who_is_connected(node: FakeNode) -> None:
    node.connect(1)
    rows, pages = await all_pages(node, "masternodelist", limit=3)
    assert [row["member_id"] for row in rows] == [m.member_id.hex() for m in COMMITTEE.members]
    assert [row["connected"] for row in rows] == [True, True, False, False]
    assert [row["own"] for row in rows] == [True, False, False, False]
    assert pages == 2
    peers, _ = await all_pages(node, "getpeerinfo", limit=1)
    assert [peer["member_id"] for peer in peers] == [rows[1]["member_id"]]
    status = await call(node, "masternodestatus")
    assert (status["state"], status["ready"]) == ("voting", False)
    assert status["member"]["member_id"] == OWN.member_id.hex()
    node.view.silence = VotingAnswer(VotingState.AMNESIA, 1, 3, 7)
    status = await call(node, "masternodestatus")
    assert (status["state"], status["ready"]) == ("amnesia", False)
    assert status["reasons"][0].startswith("amnesia until epoch 7: ")
    node.view.silence, node.view.own_id = None, None
    assert (await call(node, "masternodestatus"))["state"] == "following"


async def test_an_address_is_judged(node: FakeNode) -> None:
    good = await call(node, "validateaddress", address=ADDRESS)
    assert (good["isvalid"], good["lock"]) == (True, LOCK.hex())
    for wrong in (ADDRESS[:-1] + "q", format_address("ls", LOCK), ""):
        answer = await call(node, "validateaddress", address=wrong)
        assert not answer["isvalid"]
        assert answer["error"]


async def test_help_knows_every_method(node: FakeNode) -> None:
    listed = await call(node, "help")
    assert all(name in listed for name in METHODS)
    assert "timeout_ms" in await call(node, "help", command="waittransactionfinality")
