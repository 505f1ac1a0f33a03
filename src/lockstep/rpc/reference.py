"""The reference of the interface, as Markdown and as OpenRPC, written from the method table.

`python -m lockstep.rpc.reference` prints what stands in docs/reference/rpc.md.
"""

import inspect
import sys
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Raw, Struct, UnsetType
from msgspec.structs import fields

from lockstep import __version__
from lockstep.primitives.transaction import BATCH_TRANSACTIONS_MAX
from lockstep.rpc.dispatch import BATCH_CALLS_MAX
from lockstep.rpc.method import BODY_BYTES_MAX, Method
from lockstep.rpc.stream import QUEUE_BYTES_MAX, QUEUE_EVENTS_MAX
from lockstep.rpc.submission import (
    SUBMISSION_BYTES_MAX,
    SUBMISSION_PATH,
    SUBMISSION_TYPE,
    SubmissionFault,
    SubmissionRow,
)
from lockstep.rpc.transaction_methods import SUBMIT_BODY_BYTES_MAX

_REASONS: Final = "`no_quorum`, `catching_up`, `asking`, `amnesia`, `disk_full`, `stopping`"


def _fields_of(shape: type[Struct]) -> str:
    return ", ".join(f"`{name}`" for name in shape.__struct_fields__)


_ROW: Final = _fields_of(SubmissionRow)
_FAULT: Final = _fields_of(SubmissionFault)
_HEAD: Final = f"""# RPC

Written from the method table by `python -m lockstep.cli.reference`; do not edit.

JSON-RPC over HTTP `POST /`, on loopback, with HTTP basic authentication: user and password stand,
separated by a colon, in the file `.cookie` of the data directory, which is new at each start. With
`"jsonrpc": "2.0"` the status is 200 and an answer has one of `result` and `error`. Without it, or
with 1.0 or 1.1, both are there, and the status is 404 for an unknown method and 500 for any other
error.

* A batch has at most {BATCH_CALLS_MAX} calls; a body {BODY_BYTES_MAX >> 20} MiB, that of
  `submittransactions` {SUBMIT_BODY_BYTES_MAX >> 20} MiB.
* Parameters come by position or by name; null stands for one left out.
* An amount is a JSON number with exactly eight decimals; its base units, as an integer, stand
  beside it under a name that ends in `_units`.
* A list comes in pages `{{items, cursor}}`; give the cursor back for the next page, null ends it.
* An error is `{{code, message, data: {{code, hint}}}}`: Bitcoin's number where it has one, a
  sentence, our dotted code, and the next step. Where the same may succeed later, `data` has
  `retry_after_ms`.
* Nothing is answered before what it was read from is synced to the disk.
* An answer above 1 KiB is compressed with gzip where the client takes it.

## Other paths

| path | what |
| --- | --- |
| `GET /livez` | 200 while the process answers |
| `GET /readyz`, `GET /healthz` | 200, or 503 and why: {_REASONS} |
| `GET /metrics` | Prometheus text |
| `GET /ws?events=final,block&confirms=1` | WebSocket stream of events |
| `POST {SUBMISSION_PATH}` | transactions in binary |

The first three need no cookie from the same machine.

## Binary submission

`POST {SUBMISSION_PATH}` takes what `submittransactions` takes, by the same rules, without hex and
JSON. The body is a batch as it is encoded: MessagePack, an array of one array of up to
{BATCH_TRANSACTIONS_MAX} transactions in canonical bytes, {SUBMISSION_BYTES_MAX >> 20} MiB in all.
The answer is `{SUBMISSION_TYPE}`.

| status | body |
| --- | --- |
| 200 | an array of rows in the order of the transactions; a row is {_ROW} |
| 400 | the bytes are no batch, whatever its transactions are; a map of {_FAULT} |
| 401, 403, 408, 413 | as on every path |
| 503 | nothing was looked at: busy, stopping, or no room on the disk; the same map |

With 503 the header `Retry-After` says in whole seconds when to come again, where that is known.
A row whose bytes are no transaction has nil for `txid` and says so in `code`; the others are
submitted. `retry_after_ms` is above zero where the same may be accepted after that time.

## Events

`events` names what to hear, separated by commas; all where it is left out. The first message is
`subscribed`; after it none is missed. At most {QUEUE_EVENTS_MAX} events or {QUEUE_BYTES_MAX >> 20}
MiB wait for a slow reader; then they are lost, it hears `overrun`, and the stream ends with close
code 1013. `stopping` is the last message of a node that stops.

| event | fields |
| --- | --- |
| `accepted` | `txids`, `voted`: held durably |
| `refused` | `refusals`: `txid`, `code`, `message` each |
| `final` | `txids`, `epoch`, `weight` of the Confirms; with `confirms=1` the Confirms in hex |
| `dropped` | `txids`, `code`: can never be valid again |
| `block_transactions` | `height`, `hash`, `txids`: in a block, so final if it was not before |
| `block` | `height`, `hash`, `epoch`, `closing`, `time_ms`, `round`, `by_sync`, `transactions` |
| `alarm` | `code`, `message` |
"""


def render_reference(methods: dict[str, Method]) -> str:
    """Write the whole reference as Markdown."""
    parts = [_HEAD]
    shapes: dict[type[Struct], None] = {}
    for group in dict.fromkeys(method.group for method in methods.values()):
        parts.append(f"## Methods: {group}\n")
        members = [method for method in methods.values() if method.group == group]
        parts += ["\n".join(_render_method(method)) for method in members]
        for method in members:
            shapes |= dict.fromkeys(_shapes_in(method.result))
    parts.append("## Shapes\n")
    parts += [
        "\n".join(_render_shape(shape)) for shape in sorted(shapes, key=lambda kind: kind.__name__)
    ]
    return "\n".join(parts).rstrip() + "\n"


def make_openrpc(methods: dict[str, Method]) -> dict[str, Any]:
    """Return the OpenRPC document of the table, with JSON schemas of parameters and results."""
    kinds = [parameter.kind for method in methods.values() for parameter in method.parameters]
    kinds += [method.result for method in methods.values()]
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    remaining = iter(schemas)
    params = {
        method.name: [
            {"name": p.name, "required": p.is_required, "schema": next(remaining)}
            for p in method.parameters
        ]
        for method in methods.values()
    }
    return {
        "openrpc": "1.3.2",
        "info": {"title": "Lockstep", "version": __version__},
        "methods": [
            {
                "name": method.name,
                "summary": method.summary,
                "description": method.text,
                "tags": [{"name": method.group}],
                "params": params[method.name],
                "result": {"name": "result", "schema": next(remaining)},
            }
            for method in methods.values()
        ],
        "components": {"schemas": components},
    }


def _render_method(method: Method) -> Iterator[str]:
    yield f"### {method.name}\n"
    yield f"`{method.usage}`\n"
    yield f"{method.text}\n"
    if method.parameters:
        yield "| parameter | type | default |"
        yield "| --- | --- | --- |"
        for parameter in method.parameters:
            default = "required" if parameter.is_required else _render_default(parameter.default)
            yield f"| `{parameter.name}` | {_name_kind(parameter.kind)} | {default} |"
        yield ""
    yield f"Returns {_name_kind(method.result)}.\n"


def _render_shape(shape: type[Struct]) -> Iterator[str]:
    yield f"### {_name_shape(shape)}\n"
    yield f"{inspect.getdoc(shape)}\n"
    yield "| field | type |"
    yield "| --- | --- |"
    for row in fields(shape):
        yield f"| `{row.encode_name}` | {_name_kind(row.type)} |"
    yield ""


def _render_default(value: Any) -> str:
    return f"`{msgspec.json.encode(value).decode()}`"


def _members(kind: Any) -> tuple[Any, ...]:
    return tuple(part for part in get_args(kind) if part is not UnsetType)


def _name_kind(kind: Any) -> str:
    """Write a type as people say it in JSON."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _name_kind(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_name_kind, _members(kind))))
    if origin is dict:
        return "object"
    if origin is list:
        return f"list of {_name_kind(get_args(kind)[0])}"
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if isinstance(origin, type) and issubclass(origin, Struct):
        return f"page of {_name_kind(get_args(kind)[0])}"
    if isinstance(kind, type) and issubclass(kind, Struct):
        return f"[{_name_shape(kind)}](#{_name_shape(kind).lower()})"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(repr(member.value) for member in kind)
    words = {str: "string", int: "integer", bool: "boolean", Raw: "number", type(None): "null"}
    return words[kind]


def _name_shape(shape: type[Struct]) -> str:
    return shape.__name__.removesuffix("Answer")


def _shapes_in(kind: Any) -> list[type[Struct]]:
    """Return the shapes a type is made of, each once, outermost first."""
    found: dict[type[Struct], None] = {}
    waiting = [kind]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, type) and issubclass(part, Struct):
            if part not in found:
                found[part] = None
                waiting += [row.type for row in fields(part)]
        else:
            waiting += [arg for arg in get_args(part) if not isinstance(arg, str | int)]
    return list(found)


if __name__ == "__main__":
    from lockstep.rpc.table import METHODS

    sys.stdout.write(render_reference(METHODS))
