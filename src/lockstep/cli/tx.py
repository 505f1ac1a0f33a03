"""`lockstep tx`: payments as the network knows them."""

from pathlib import Path
from typing import Any

import rich_click as click

from lockstep.cli.amounts import format_amount
from lockstep.cli.door import dir_option, open_place
from lockstep.cli.output import json_option, say_result


@click.group()
def tx() -> None:
    """Look at payments."""


@tx.command()
@click.argument("txid")
@dir_option
@json_option
def show(txid: str, directory: Path | None, *, as_json: bool) -> None:
    r"""Show a payment: what it pays, how final it is, and where it stands in the chain.

    \b
    Example:
      lockstep tx show 5d1c...e9
    """
    _, client = open_place(directory)
    with client:
        finality = client.call("gettransactionfinality", txid=txid)
        known = finality["state"] not in {"unknown", "refused"}
        payment = client.call("getrawtransaction", txid=txid, verbose=2) if known else None
    say_result(
        {"txid": finality["txid"], "finality": finality, "transaction": payment},
        _describe(finality, payment),
        as_json=as_json,
    )


def _describe(finality: dict[str, Any], payment: dict[str, Any] | None) -> list[str]:
    lines = [f"transaction {finality['txid']}", f"state {finality['state']}"]
    if (refusal := finality["refusal"]) is not None:
        lines.append(f"refused: {refusal['message']} ({refusal['code']})")
    if (place := finality["block"]) is not None:
        lines.append(f"in block {place['height']}, {place['confirmations']} deep")
    elif finality["final"] or payment is not None:
        total, quorum = finality["total_weight"], finality["quorum"]
        lines.append(
            f"votes {finality['vote_weight']}, confirms {finality['confirm_weight']}"
            f" of {total}, quorum {quorum}"
        )
    if payment is not None:
        lines += [f"spends {row['txid']}:{row['vout']}" for row in payment["vin"]]
        lines += [
            f"pays {format_amount(row['amount_units'])} to {row['address']}"
            for row in payment["vout"]
        ]
    return lines
