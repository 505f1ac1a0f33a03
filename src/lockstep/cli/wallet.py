"""`lockstep wallet`: make and restore wallets, see addresses and balance, send."""

from pathlib import Path
from typing import Final

import rich_click as click

from lockstep.cli.amounts import format_amount, parse_amount
from lockstep.cli.door import dir_option, open_place
from lockstep.cli.output import json_option, say_result
from lockstep.cli.secret_input import SecretSource, passphrase_options, read_secret
from lockstep.cli.wallet_place import (
    choose_network,
    choose_new_path,
    choose_wallet,
    network_option,
    wallet_option,
)
from lockstep.errors import Rejected, Unavailable

WAIT_MS: Final = 20_000
MEMO_HELP: Final = "Up to 512 bytes of text for the payee, for everybody to read."


class PaymentRefused(Rejected):
    """The node refused the payment; `code` is the node's."""

    def __init__(self, code: str, sentence: str) -> None:
        """Carry the node's refusal."""
        super().__init__(sentence)
        self.code = code  # type: ignore[misc]  # The node chooses it, so it is the instance's.


class NotFinalYet(Unavailable):
    """The payment was accepted and is not final in the time waited."""

    code = "wallet.not_final"
    hint = "it stays valid: look again with `lockstep tx show TXID`"


@click.group()
def wallet() -> None:
    """Keep keys and make payments.

    A wallet is a file sealed by a passphrase; 24 words restore it anywhere. Against a devnet the
    wallet meant is the devnet's own, which holds coins, unless --wallet names another.
    """


@wallet.command()
@wallet_option
@network_option
@dir_option
@passphrase_options
@json_option
def new(
    *,
    wallet_name: str | None,
    network: str | None,
    directory: Path | None,
    passphrase_source: SecretSource,
    as_json: bool,
) -> None:
    r"""Make a wallet with new keys and show its 24 words, once.

    \b
    Example:
      lockstep wallet new --wallet savings
    """
    from lockstep.wallet.keychain import draw_words
    from lockstep.wallet.wallet import create_wallet

    path = choose_new_path(wallet_name, directory)
    passphrase = read_secret("passphrase", passphrase_source, is_new=True)
    words = draw_words()
    made = create_wallet(
        path, words=words, passphrase=passphrase, network=choose_network(network, directory)
    )
    content = {
        "wallet": str(made.path),
        "network": made.network,
        "address": made.addresses[0],
        "words": words,
    }
    lines = [
        f"wallet {made.path}",
        f"first address {made.addresses[0]}",
        "write these words on paper, in order; whoever has them has the coins:",
        words,
    ]
    say_result(content, lines, as_json=as_json)


@wallet.command()
@click.option(
    "--words-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read the 24 words from this file, which must be mode 0600.",
)
@click.option(
    "--words-fd",
    type=click.IntRange(min=0),
    metavar="N",
    help="Read the 24 words from this open file descriptor.",
)
@wallet_option
@network_option
@dir_option
@passphrase_options
@json_option
def restore(
    *,
    words_file: Path | None,
    words_fd: int | None,
    wallet_name: str | None,
    network: str | None,
    directory: Path | None,
    passphrase_source: SecretSource,
    as_json: bool,
) -> None:
    r"""Make a wallet file from 24 words; its addresses are those the words always had.

    \b
    Example:
      lockstep wallet restore --wallet copy --words-file words.txt
    """
    from lockstep.wallet.keychain import check_words
    from lockstep.wallet.wallet import create_wallet

    path = choose_new_path(wallet_name, directory)
    words = check_words(read_secret("words", SecretSource(words_file, words_fd)))
    passphrase = read_secret("passphrase", passphrase_source, is_new=True)
    made = create_wallet(
        path, words=words, passphrase=passphrase, network=choose_network(network, directory)
    )
    content = {"wallet": str(made.path), "network": made.network, "address": made.addresses[0]}
    say_result(
        content,
        [f"wallet {made.path}", f"first address {made.addresses[0]}"],
        as_json=as_json,
    )


@wallet.command()
@click.option("--index", type=click.IntRange(0, 19), default=0, help="Which address; 0.")
@click.option("--all", "show_all", is_flag=True, help="Show all 20 addresses.")
@wallet_option
@dir_option
@json_option
def address(
    *,
    index: int,
    show_all: bool,
    wallet_name: str | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    r"""Show where the wallet receives payments; needs no passphrase and no node.

    \b
    Example:
      lockstep wallet address --index 3
    """
    found = choose_wallet(wallet_name, directory).wallet
    addresses = found.addresses
    content: dict[str, object] = {"wallet": str(found.path), "address": addresses[index]}
    if show_all:
        content["addresses"] = addresses
    say_result(content, addresses if show_all else [addresses[index]], as_json=as_json)


@wallet.command()
@wallet_option
@dir_option
@json_option
def balance(*, wallet_name: str | None, directory: Path | None, as_json: bool) -> None:
    r"""Show what the wallet holds: in the chain, being spent, and on the way in.

    \b
    Example:
      lockstep wallet balance --json
    """
    found = choose_wallet(wallet_name, directory).wallet
    _, client = open_place(directory)
    with client:
        answer = client.call("getaddressbalance", addresses=list(found.addresses))
    content = {"wallet": str(found.path), **answer}
    rows = {
        "confirmed": answer["confirmed_units"],
        "being spent": answer["spending_units"],
        "on the way in": answer["incoming_units"],
        "of that final": answer["incoming_final_units"],
    }
    lines = [f"{name:14} {format_amount(units):>20}" for name, units in rows.items()]
    say_result(content, lines, as_json=as_json)


@wallet.command()
@click.argument("payee")
@click.argument("amount")
@click.option("--memo", default="", help=MEMO_HELP)
@click.option("--no-wait", is_flag=True, help="Do not wait until the payment is final.")
@wallet_option
@dir_option
@passphrase_options
@json_option
def send(
    *,
    payee: str,
    amount: str,
    memo: str,
    no_wait: bool,
    wallet_name: str | None,
    directory: Path | None,
    passphrase_source: SecretSource,
    as_json: bool,
) -> None:
    r"""Pay AMOUNT coins to the address PAYEE, and wait until the payment is final.

    \b
    Example:
      lockstep wallet send dls1... 1.5 --memo rent
    """
    from lockstep.cli.paying import pay

    units = parse_amount(amount)
    chosen = choose_wallet(wallet_name, directory)
    _, client = open_place(directory)
    if passphrase_source.is_prompt and chosen.passphrase_file is not None:
        passphrase_source = SecretSource(chosen.passphrase_file, None)
    passphrase = read_secret("passphrase", passphrase_source)
    with client:
        paid = pay(client, chosen.wallet, passphrase, payee=payee, units=units, memo=memo.encode())
        if not paid.is_accepted:
            raise PaymentRefused(paid.code, paid.sentence)
        answer = None
        if not no_wait:
            answer = client.call("waittransactionfinality", txid=paid.txid, timeout_ms=WAIT_MS)
    final_ms = round(paid.elapsed_ms(), 1)
    content = {
        "txid": paid.txid,
        "amount_units": units,
        "fee_units": paid.fee,
        "state": "accepted" if answer is None else answer["state"],
        "final": answer is not None and answer["final"],
        "final_ms": final_ms if answer is not None and answer["final"] else None,
    }
    if answer is not None and not answer["final"]:
        raise NotFinalYet(f"payment {paid.txid} is {answer['state']}")
    end = "accepted" if answer is None else f"final in {final_ms} ms"
    fee = format_amount(paid.fee)
    say_result(content, [f"payment {paid.txid}", f"{end}, fee {fee}"], as_json=as_json)
