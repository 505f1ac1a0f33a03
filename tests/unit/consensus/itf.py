"""Reader of Apalache's ITF traces, and where the external ones lie.

Values become plain Python: integers, strings, tuples, dicts, lists for sets, and `Variant` for a
tagged value. The prefix `Module::Instance::` is stripped from variable names.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any, NamedTuple


class Variant(NamedTuple):
    """One alternative of a sum type."""

    tag: str
    value: Any


def vectors_directory() -> Path:
    """Return LOCKSTEP_VECTORS, or the shared vectors beside the checkout."""
    default = Path(__file__).resolve().parents[4] / "shared" / "vectors"
    return Path(os.environ.get("LOCKSTEP_VECTORS", default))


def find_traces(*prefixes: str) -> list[Path]:
    """Return the trace files whose names begin with one of the prefixes, in order."""
    files = sorted((vectors_directory() / "tendermint").glob("*.itf.json.gz"))
    return [path for path in files if path.name.startswith(prefixes)]


def load_states(path: Path) -> list[dict[str, Any]]:
    """Return the states of one trace."""
    with gzip.open(path) as file:
        return [_decode(state) for state in json.load(file)["states"]]


def _decode(raw: Any) -> Any:
    if isinstance(raw, list):
        return [_decode(item) for item in raw]
    if not isinstance(raw, dict):
        return raw
    if "#bigint" in raw:
        return int(raw["#bigint"])
    if "#map" in raw:
        return {_decode(key): _decode(value) for key, value in raw["#map"]}
    if "#set" in raw:
        return [_decode(item) for item in raw["#set"]]
    if "#tup" in raw:
        return tuple(_decode(item) for item in raw["#tup"])
    if raw.keys() == {"tag", "value"}:
        return Variant(raw["tag"], _decode(raw["value"]))
    return {
        name.rpartition("::")[2]: _decode(value) for name, value in raw.items() if name != "#meta"
    }
