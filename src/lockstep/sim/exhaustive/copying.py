"""Copies of a node, fast: what can change is written out and read back, the rest is shared.

`copy.deepcopy` takes milliseconds for a replica, and a model needs tens of thousands of copies.
"""

import io
import pickle
from types import FunctionType
from typing import Any, Final

from msgspec import Struct

from lockstep.primitives.committee import Committee
from lockstep.sim.keyed_hash import KeyedHashSigner, KeyedHashVerifier

_SHARED: Final = (Committee, KeyedHashSigner, KeyedHashVerifier, FunctionType)


class Copier:
    """Writes things down and makes new ones of what was written.

    Whatever cannot change is written as a number: frozen structs, keys, sets of members, functions.
    """

    def __init__(self) -> None:
        """Begin with nothing shared."""
        self._things: list[object] = []
        self._numbers: dict[int, int] = {}
        self._is_shared: dict[type, bool] = {}

    def write(self, thing: object) -> bytes:
        """Return what `read` makes a copy of."""
        file = io.BytesIO()
        _Writer(self, file).dump(thing)
        return file.getvalue()

    def read(self, data: bytes) -> Any:
        """Return a new copy of what was written."""
        return _Reader(self, io.BytesIO(data)).load()

    def number(self, thing: object) -> int | None:
        """Return the number that stands for a thing, None if it is to be copied."""
        kind = type(thing)
        shared = self._is_shared.get(kind)
        if shared is None:
            shared = self._is_shared[kind] = issubclass(kind, _SHARED) or _is_frozen(kind)
        if not shared:
            return None
        number = self._numbers.get(id(thing))
        if number is None:
            number = self._numbers[id(thing)] = len(self._things)
            # Kept for ever, so that no other thing ever has its id.
            self._things.append(thing)
        return number

    def thing(self, number: int) -> object:
        """Return the thing of this number."""
        return self._things[number]


class _Writer(pickle.Pickler):
    def __init__(self, copier: Copier, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._copier = copier

    def persistent_id(self, obj: object) -> int | None:
        return self._copier.number(obj)


class _Reader(pickle.Unpickler):
    def __init__(self, copier: Copier, file: io.BytesIO) -> None:
        super().__init__(file)
        self._copier = copier

    def persistent_load(self, pid: int) -> object:
        return self._copier.thing(pid)


def _is_frozen(kind: type) -> bool:
    return issubclass(kind, Struct) and kind.__struct_config__.frozen
