"""The page of errors, written from every class of error and the few codes that have none."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Final

import lockstep
from lockstep.cli.failure import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, WrongUsage
from lockstep.cli.reference.table import render_code, render_table
from lockstep.client.faults import RpcError
from lockstep.devnet.options import WrongOptions
from lockstep.errors import Fatal, LockstepError, Misuse, Rejected, Unavailable
from lockstep.node.app import EXIT_FATAL, EXIT_NOT_STARTED
from lockstep.rpc.faults import DATABASE_ERROR, CallFault, answer_fault, refusal_number
from lockstep.rpc.stream import TooManySubscribers

_HEAD: Final = f"""# Errors

Written from the code by `python -m lockstep.cli.reference`; do not edit.

Every error has a stable dotted code for programs, a sentence for people made where its numbers are
known, and often a hint, the next step. The family says who must react:

| family | who must react |
| --- | --- |
| `Rejected` | the sender: the same bytes will be refused again |
| `Unavailable` | nobody: the same request may succeed later |
| `Misuse` | us: a defect of this program |
| `Fatal` | the operator: the disk or an invariant is gone, and the process has stopped |

**Exit codes.** A command that fails leaves with {EXIT_FAILED}, after wrong usage
(`{WrongUsage.code}`, `{WrongOptions.code}`) with {EXIT_USAGE}, interrupted with {EXIT_INTERRUPTED}.
A node leaves with 0 after an orderly stop, {EXIT_NOT_STARTED} if it could not start, {EXIT_FATAL}
if something stopped it while it ran, and 128 and the signal's number after a second signal.
`lockstep status` has its own: 0 well, 1 degraded, 2 down.

**RPC.** The column *RPC* is the error number of an answer, Bitcoin's where it has one; the dotted
code stands in `error.data.code`. With JSON-RPC 2.0 the HTTP status is 200; in the older dialects it
is 404 for an unknown method, 400 for what is no request, and 500 for any other error. A `Fatal`
met by a call is answered with {DATABASE_ERROR}, and the node stops. `submittransactions` never
fails for one bad payment: each row has its own code.
"""

NO_CLASS: Final = {
    "Answers of the door": {
        "rpc.host": "HTTP 403: the Host header names no address of this node.",
        "rpc.origin": "HTTP 403: pages of other sites may not call this node.",
        "rpc.unauthorized": "HTTP 401: the cookie is missing or not this run's.",
        "rpc.subscribers": "HTTP 400 on `/ws`; so is a name of no event.",
        "rpc.internal": "RPC -32603: a defect; the node goes on and its log has the rest.",
    },
    "Alarms: must never happen": {
        "consensus.equivocation": "A member signed what no honest one signs: there is evidence.",
        "amnesia.found": "A word of this node's key came that its journal lacks: it falls silent.",
        "finality.two_certificates": "Two payments of one coin have a certificate of one epoch.",
        "finality.invalid_certified": "A quorum voted for a payment that is not valid here.",
    },
    "Why a node is not ready": {
        "no_quorum": "Members of less than a quorum's weight are connected.",
        "catching_up": "The node is fetching blocks it missed.",
        "asking": "The node has started and asks its peers what its voting key has signed.",
        "amnesia": "The journal lacks what the voting key has signed: silent until a later epoch.",
        "stopping": "The node is stopping.",
    },
    "Other": {
        "node.defect": "A defect stopped the node; the log has a trace.",
        "pool.evicted": "A payment that paid less for its bytes made room in a full pool.",
    },
}
"""Codes that are said without an error being raised, by place."""

_AREAS: Final = {
    "Payments": ("tx", "pool", "submit"),
    "RPC": ("rpc", "node.stopping"),
    "Bytes and addresses": ("bytes", "bitmap", "address", "amount"),
    "Wallet": ("wallet", "secret"),
    "Command line and client": ("usage", "client", "place", "node.down", "stop"),
    "Devnet, load, simulator and benchmarks": ("devnet", "load", "judge", "sim", "bench"),
    "Node: settings, keys, start and stop": ("config", "key", "node", "genesis", "net", "verify"),
    "Storage": ("storage", "journal"),
    "Peers: sessions": ("session", "frame"),
    "Peers: messages and blocks": (
        *("message", "page", "block", "proposal", "ballot", "certificate"),
        *("freeze", "committee", "amnesia", "evidence", "culprits"),
    ),
    "Chain: promises broken": ("chain", "ledger", "consensus"),
}
_ANSWERED: Final = ("tx", "pool", "rpc", "bytes", "address", "submit", "node.stopping")
_REFUSALS: Final = ("tx", "pool", "submit")
_ROOTS: Final = (LockstepError, Rejected, Unavailable, Misuse, Fatal)
# These carry the code of what they stand for.
_CARRIERS: Final = ("PaymentRefused", "TransactionRefused", "LoadRefused", RpcError.__name__)


def render_errors() -> str:
    """Write the page.

    Raises:
        Misuse: If an error belongs to no area, so that nobody would find it.
    """
    areas: dict[str, list[type[LockstepError]]] = {area: [] for area in _AREAS}
    named: dict[str, None] = {}
    # A rule that is met in two rooms has one code; the room below says it best.
    for kind in sorted(find_errors(), key=lambda kind: (kind.code, kind.__module__)):
        if kind.code not in named:
            named[kind.code] = None
            areas[_area_of(kind.code)].append(kind)
    parts = [_HEAD]
    for area, kinds in areas.items():
        parts.append(f"## {area}\n")
        parts += render_table(
            ("code", "family", "what", "hint", "RPC"),
            map(_describe, kinds),
        )
    parts.append("## Codes without an error\n")
    for area, codes in NO_CLASS.items():
        parts += [f"### {area}\n"]
        parts += render_table(("code", "what"), ((f"`{c}`", text) for c, text in codes.items()))
    return "\n".join(parts).rstrip() + "\n"


def find_errors() -> list[type[LockstepError]]:
    """Return every error of every room, each class once; the families themselves are left out."""
    for module in pkgutil.walk_packages(lockstep.__path__, "lockstep."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    return [kind for kind in _walk(LockstepError) if kind.__name__ not in _CARRIERS]


def _walk(root: type[LockstepError]) -> Iterator[type[LockstepError]]:
    for kind in root.__subclasses__():
        if kind not in _ROOTS and kind.__module__.startswith("lockstep."):
            yield kind
        yield from _walk(kind)


def _area_of(code: str) -> str:
    """Return the area of a code; a whole code goes before its first word."""
    for sought in (code, code.partition(".")[0]):
        for area, words in _AREAS.items():
            if sought in words:
                return area
    raise Misuse(f"the error {code} belongs to no area of the reference")


def _describe(kind: type[LockstepError]) -> tuple[str, ...]:
    family = next(root for root in (Rejected, Unavailable, Misuse, Fatal) if issubclass(kind, root))
    return (
        render_code(kind.code),
        family.__name__,
        (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " "),
        kind.hint,
        _number_of(kind),
    )


def _number_of(kind: type[LockstepError]) -> str:
    """Return the number an RPC answer has for it, nothing where no call can meet it."""
    words = (kind.code, kind.code.partition(".")[0])
    if not issubclass(kind, CallFault) and not any(word in _ANSWERED for word in words):
        return ""
    if issubclass(kind, Fatal | TooManySubscribers):
        return ""
    if words[1] in _REFUSALS:
        return str(refusal_number(kind.code))
    return str(answer_fault(kind.__new__(kind)).code)
