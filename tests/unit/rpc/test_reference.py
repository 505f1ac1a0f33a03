"""The reference: what stands in docs is what the method table says."""

from pathlib import Path

import msgspec

from lockstep.rpc.reference import make_openrpc, render_reference
from lockstep.rpc.stream import EventKind
from lockstep.rpc.table import METHODS

PLACE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "rpc.md"


def test_the_written_reference_is_up_to_date() -> None:
    text = render_reference(METHODS)
    assert PLACE.read_text("utf-8") == text, "run: python -m lockstep.rpc.reference > " + PLACE.name
    assert all(f"| `{kind}` |" in text for kind in EventKind)


def test_every_method_of_the_mission_is_there() -> None:
    promised = """getblockchaininfo getblockcount getblockhash getblock getrawtransaction
    sendrawtransaction gettxout gettxoutsetinfo getmempoolinfo getrawmempool listunspent
    validateaddress getnetworkinfo getpeerinfo uptime stop masternodelist masternodestatus
    getconsensusinfo gettransactionfinality waittransactionfinality getutxostate
    submittransactions decoderawtransaction getblockheader getbestblockhash help getrpcinfo"""
    assert set(promised.split()) <= set(METHODS)


def test_the_openrpc_document_points_nowhere_outside_itself() -> None:
    document = make_openrpc(METHODS)
    text = msgspec.json.encode(document).decode()
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
    assert [method["name"] for method in document["methods"]] == list(METHODS)
