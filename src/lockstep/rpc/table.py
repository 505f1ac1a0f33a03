"""The method table: every method a node answers, and those that speak about the table itself."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from lockstep import __version__
from lockstep.rpc import block_methods, coin_methods, network_methods, transaction_methods
from lockstep.rpc.dispatch import BATCH_CALLS_MAX, DEPTH_MAX
from lockstep.rpc.faults import UnknownMethod
from lockstep.rpc.method import BODY_BYTES_MAX, Function, Method, describe_method
from lockstep.rpc.reference import make_openrpc
from lockstep.rpc.service import WAITERS_MAX, NodeService
from lockstep.rpc.shapes import PAGE_ITEMS_MAX
from lockstep.rpc.stream import QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX, SUBSCRIBERS_MAX
from lockstep.rpc.transaction_methods import SUBMIT_BODY_BYTES_MAX, WAIT_MS_MAX

_GROUPS: Final[Mapping[str, tuple[Function, ...]]] = {
    "chain": (
        block_methods.getblockchaininfo,
        block_methods.getblockcount,
        block_methods.getbestblockhash,
        block_methods.getblockhash,
        block_methods.getblock,
        block_methods.getblockheader,
        block_methods.getgenesis,
    ),
    "transactions": (
        transaction_methods.getrawtransaction,
        transaction_methods.decoderawtransaction,
        transaction_methods.gettransactionfinality,
        transaction_methods.getmempoolinfo,
        transaction_methods.getrawmempool,
    ),
    "coins": (
        coin_methods.gettxout,
        coin_methods.gettxoutsetinfo,
        coin_methods.getutxostate,
        coin_methods.listunspent,
        coin_methods.getaddressbalance,
        coin_methods.validateaddress,
    ),
    "network": (
        network_methods.getnetworkinfo,
        network_methods.getconnectioncount,
        network_methods.getpeerinfo,
        network_methods.masternodelist,
        network_methods.masternodestatus,
        network_methods.getconsensusinfo,
    ),
}


class LimitsAnswer(Struct, frozen=True):
    """The bounds of this door."""

    batch_calls: int
    depth: int
    body_bytes: int
    submit_body_bytes: int
    page_items: int
    wait_ms: int
    waiters: int
    subscribers: int
    subscriber_events: int
    subscriber_bytes: int


class RpcAnswer(Struct, frozen=True):
    """What this door speaks, and its bounds."""

    version: str
    methods: int
    limits: LimitsAnswer


async def help(service: NodeService, *, command: str = "") -> str:  # noqa: A001  # Bitcoin's name.
    """List all methods, or show one with its parameters."""
    del service
    if command:
        method = METHODS.get(command)
        if method is None:
            raise UnknownMethod(f"there is no method {command[:64]!r}")
        return f"{method.usage}\n\n{method.text}"
    lines = []
    for group in dict.fromkeys(method.group for method in METHODS.values()):
        lines.append(f"== {group} ==")
        lines += [method.usage for method in METHODS.values() if method.group == group]
    return "\n".join(lines)


async def getrpcinfo(service: NodeService) -> RpcAnswer:
    """Return the number of methods and the limits of this interface."""
    del service
    limits = LimitsAnswer(
        batch_calls=BATCH_CALLS_MAX,
        depth=DEPTH_MAX,
        body_bytes=BODY_BYTES_MAX,
        submit_body_bytes=SUBMIT_BODY_BYTES_MAX,
        page_items=PAGE_ITEMS_MAX,
        wait_ms=WAIT_MS_MAX,
        waiters=WAITERS_MAX,
        subscribers=SUBSCRIBERS_MAX,
        subscriber_events=QUEUE_EVENTS_MAX,
        subscriber_bytes=QUEUE_BYTES_MAX,
    )
    return RpcAnswer(__version__, len(METHODS), limits)


async def discover(service: NodeService) -> dict[str, Any]:
    """Return the OpenRPC document: every method with JSON schemas of parameters and result."""
    del service
    return make_openrpc(METHODS)


def make_method_table() -> dict[str, Method]:
    """Describe every method once, in the order of the reference."""
    rows = [
        describe_method(function, group)
        for group, functions in _GROUPS.items()
        for function in functions
    ]
    # Their answers are made of notices, which are synced before they are given.
    submit = "submission"
    rows += [
        describe_method(transaction_methods.sendrawtransaction, submit, settles=False),
        describe_method(
            transaction_methods.submittransactions,
            submit,
            settles=False,
            body_bytes_max=SUBMIT_BODY_BYTES_MAX,
        ),
        describe_method(
            transaction_methods.waittransactionfinality, submit, timeout_ms=WAIT_MS_MAX + 10_000
        ),
    ]
    # A node whose disk hangs can still say how it is, and be told to stop.
    rows += [
        describe_method(function, "control", settles=False)
        for function in (network_methods.uptime, getrpcinfo, help, network_methods.stop)
    ]
    rows.append(describe_method(discover, "control", name="rpc.discover", settles=False))
    return {row.name: row for row in rows}


METHODS: Final = make_method_table()
