"""Every bad payment is refused by a real node with a code and a sentence of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from e2e.test_devnet import Desk
from lockstep.client.faults import RpcError
from lockstep.client.sync_client import SyncRpcClient
from lockstep.crypto.address import format_address
from lockstep.crypto.keys import SecretKey
from lockstep.load.payments import LOAD_ACCOUNT
from lockstep.primitives.codec import encode
from lockstep.primitives.genesis import parse_genesis
from lockstep.primitives.ids import AMOUNT_MAX, make_outpoint
from lockstep.primitives.params import params_of
from lockstep.primitives.transaction import (
    Policy,
    Transaction,
    TransactionBody,
    TransactionOutput,
    Witness,
    make_single_lock,
    make_spend_digest,
    make_txid,
)
from lockstep.wallet.wallet import load_wallet

pytestmark = pytest.mark.alone

Coin = tuple[bytes, int]


class Forger:
    """Makes payments, good and bad, from the load's coins of a devnet."""

    def __init__(self, directory: Path, client: SyncRpcClient) -> None:
        passphrase = (directory / "wallet" / "funded.passphrase").read_text().strip()
        wallet = load_wallet(directory / "wallet" / "funded.wallet")
        self.key = wallet.unlock(passphrase).key(0, account=LOAD_ACCOUNT)
        genesis = parse_genesis((directory / "genesis.json").read_bytes())
        self.chain_id = genesis.chain_id
        self.lock = make_single_lock(self.key.public_key)
        address = format_address(params_of(genesis.network).address_prefix, self.lock)
        rows = client.call("listunspent", addresses=[address], limit=50)["items"]
        self.coins: Iterator[Coin] = iter(
            [
                (make_outpoint(bytes.fromhex(row["txid"]), row["vout"]), row["amount_units"])
                for row in rows
            ]
        )

    def body(self, coin: Coin, *, fee: int = 10_000, amount: int | None = None) -> TransactionBody:
        paid = coin[1] - fee if amount is None else amount
        return TransactionBody(1, (coin[0],), (TransactionOutput(paid, self.lock),), b"")

    def sign(
        self, body: TransactionBody, *, key: SecretKey | None = None, chain_id: bytes | None = None
    ) -> Transaction:
        key = key or self.key
        digest = make_spend_digest(chain_id or self.chain_id, make_txid(body))
        policy = Policy(1, (key.public_key,))
        return Transaction(body, (Witness(policy, 1, (key.sign(digest),)),))


def _broken_signature(forger: Forger) -> Transaction:
    good = forger.sign(forger.body(next(forger.coins)))
    witness = replace(good.witnesses[0], signatures=(bytes(64),))
    return replace(good, witnesses=(witness,))


def _other_chain(forger: Forger) -> Transaction:
    return forger.sign(forger.body(next(forger.coins)), chain_id=bytes(32))


def _unknown_coin(forger: Forger) -> Transaction:
    return forger.sign(forger.body((make_outpoint(b"\x07" * 32, 0), 10**8)))


def _dust(forger: Forger) -> Transaction:
    return forger.sign(forger.body(next(forger.coins), amount=545))


def _low_fee(forger: Forger) -> Transaction:
    return forger.sign(forger.body(next(forger.coins), fee=999))


def _more_than_there_is(forger: Forger) -> Transaction:
    return forger.sign(forger.body(next(forger.coins), fee=-1))


def _overflow(forger: Forger) -> Transaction:
    body = forger.body(next(forger.coins))
    output = TransactionOutput(AMOUNT_MAX, forger.lock)
    return forger.sign(replace(body, outputs=(output, output)))


def _foreign_key(forger: Forger) -> Transaction:
    return forger.sign(forger.body(next(forger.coins)), key=SecretKey(b"\x01" * 32))


def _twice_one_coin(forger: Forger) -> Transaction:
    body = forger.body(next(forger.coins))
    return forger.sign(replace(body, inputs=body.inputs * 2))


def _unknown_version(forger: Forger) -> Transaction:
    return forger.sign(replace(forger.body(next(forger.coins)), version=2))


CASES: list[tuple[Callable[[Forger], Transaction], str]] = [
    (_broken_signature, "tx.signature"),
    (_other_chain, "tx.signature"),
    (_unknown_coin, "tx.coin_unknown"),
    (_dust, "tx.dust"),
    (_low_fee, "tx.fee"),
    (_more_than_there_is, "tx.amount"),
    (_overflow, "tx.amount"),
    (_foreign_key, "tx.lock"),
    (_twice_one_coin, "tx.inputs"),
    (_unknown_version, "tx.version"),
]


def refuse_all(desk: Desk, directory: Path) -> None:
    """Submit every kind of bad payment to a node of a running devnet."""
    ports = desk.run("status")["nodes"][0]["runtime"]
    cookie = directory / "node0" / ".cookie"
    with SyncRpcClient("127.0.0.1", ports["rpc"], cookie) as client:
        forger = Forger(directory, client)
        for make, code in CASES:
            with pytest.raises(RpcError) as refused:
                client.call("sendrawtransaction", encode(make(forger)).hex())
            assert refused.value.code == code, make.__name__
            assert refused.value.message, make.__name__

        coin = next(forger.coins)
        first, rival = (forger.sign(forger.body(coin, fee=fee)) for fee in (5_000, 6_000))
        txid = client.call("sendrawtransaction", encode(first).hex())
        assert client.call("sendrawtransaction", encode(first).hex()) == txid
        assert client.call("waittransactionfinality", txid, 5_000)["final"] is True
        # The same payment twice is one payment; a rival of it is refused, now and in the chain.
        codes = set()
        for _ in range(2):
            with pytest.raises(RpcError) as refused:
                client.call("sendrawtransaction", encode(rival).hex())
            codes.add(refused.value.code)
            while client.call("gettransactionfinality", txid)["block"] is None:
                client.call("waittransactionfinality", txid, 100)
        assert codes == {"tx.conflict", "tx.double_spend"}

        with pytest.raises(RpcError) as refused:
            client.call("sendrawtransaction", encode(first).hex() + "00")
        assert refused.value.code == "bytes.malformed"
        with pytest.raises(RpcError) as refused:
            client.call("sendrawtransaction", "zz")
        assert refused.value.number == -8


def test_every_fault_has_its_code_and_nothing_of_it_is_applied(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    directory = tmp_path / "net"
    process = desk.start("--dir", str(directory))
    try:
        refuse_all(desk, directory)
    finally:
        process.send_signal(2)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    assert json.loads(out.splitlines()[-1])["broken"] == []
