"""Reader of traces in Apalache's ITF format.

Values become plain Python: integers, strings, tuples, dicts, lists for sets, and `Variant` for a
tagged value. The prefix `Module::Instance::` is stripped from the names of variables. Nothing here
knows what the variables mean.
"""

import gzip
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from lockstep.errors import Rejected

TRACE_BYTES_MAX: Final = 1 << 28
"""Bytes of one trace, unpacked."""
PACKED: Final = ".gz"


class DamagedTrace(Rejected):
    """The file is not a whole trace in the ITF format."""

    code = "sim.itf_damaged"
    hint = "generate the trace again; quint writes the format with --out-itf"


class Variant(NamedTuple):
    """One alternative of a sum type."""

    tag: str
    value: Any


def load_states(path: Path) -> list[dict[str, Any]]:
    """Return the states of one trace: what each variable is in each of them.

    Raises:
        DamagedTrace: If the file cannot be read, is cut short, is no JSON or no trace.
    """
    try:
        raw = msgspec.json.decode(_read(path))
        if not isinstance(raw, dict) or not isinstance(raw.get("states"), list):
            raise DamagedTrace("the file is JSON, but no ITF trace: it has no list of states")
        states = [_load_state(state) for state in raw["states"]]
    except msgspec.DecodeError as error:
        raise DamagedTrace(f"the file is no JSON: {error}") from error
    except RecursionError as error:
        raise DamagedTrace("the file nests deeper than any trace") from error
    if len(states) < 2:
        raise DamagedTrace("the trace has no step, so there is nothing to compare")
    if any(state.keys() != states[0].keys() for state in states):
        raise DamagedTrace("not every state of the trace has the same variables")
    return states


def _read(path: Path) -> bytes:
    """Return the file's bytes, unpacked where its name says that it is packed."""
    try:
        with gzip.open(path) if path.name.lower().endswith(PACKED) else path.open("rb") as file:
            content = file.read(TRACE_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DamagedTrace(f"the file cannot be read: {reason}") from error
    if len(content) > TRACE_BYTES_MAX:
        raise DamagedTrace(f"the trace is larger than {TRACE_BYTES_MAX} bytes")
    return content


def _load_state(raw: Any) -> dict[str, Any]:
    """Return one state, its variables called by their last name."""
    if not isinstance(raw, dict):
        raise DamagedTrace("a state of the trace is no record")
    variables = {name: value for name, value in raw.items() if name != "#meta"}
    state = {name.rpartition("::")[2]: _decode(value) for name, value in variables.items()}
    if len(state) < len(variables):
        raise DamagedTrace("two variables of the trace have one name but for their module")
    return state


def _decode(raw: Any) -> Any:
    """Turn one ITF expression into the Python value it stands for."""
    if type(raw) is list:
        return [_decode(item) for item in raw]
    if type(raw) is not dict:
        return raw
    if len(raw) == 2 and "value" in raw and isinstance(raw.get("tag"), str):
        return Variant(raw["tag"], _decode(raw["value"]))
    if len(raw) == 1:
        [(name, content)] = raw.items()
        if name.startswith("#"):
            return _decode_special(name, content)
    return {name: _decode(value) for name, value in raw.items()}


def _decode_special(name: str, content: Any) -> Any:
    """Turn an expression that JSON has no form for into its value."""
    match name, content:
        case "#bigint", str(digits):
            return _decode_integer(digits)
        case "#map", list(pairs):
            return dict(_decode_pair(pair) for pair in pairs)
        case "#set", list(items):
            return [_decode(item) for item in items]
        case "#tup", list(items):
            return tuple([_decode(item) for item in items])
    raise DamagedTrace(f"the trace has an expression of no known form: {name[:40]}")


def _decode_integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError as error:
        raise DamagedTrace(f"{digits[:40]!r} is no integer") from error


def _decode_pair(pair: Any) -> tuple[Any, Any]:
    """Return one entry of a map; keys of traces are numbers, names and variants of them."""
    match pair:
        case [raw_key, raw_value]:
            key = _decode(raw_key)
            try:
                hash(key)
            except TypeError as error:
                raise DamagedTrace("a map of the trace has a record or a set for a key") from error
            return key, _decode(raw_value)
    raise DamagedTrace("an entry of a map is not a key with a value")
