"""The network that a load founds for itself is what operators run."""

import asyncio
import io
from pathlib import Path
from typing import NoReturn

import pytest

from lockstep.devnet import loading
from lockstep.devnet.options import DevnetOptions
from lockstep.devnet.screen import Screen
from lockstep.primitives.params import MAINNET


class _Asked(Exception):  # It is no error: what would be founded is known.
    pass


def test_its_epochs_are_as_long_as_on_the_main_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, DevnetOptions]] = []

    def note(directory: Path, options: DevnetOptions) -> NoReturn:
        asked.append((directory, options))
        raise _Asked

    async def found() -> None:
        async with loading.own_network(loading.OwnNetwork(nodes=4), Screen(io.StringIO()), []):
            pass

    monkeypatch.setattr(loading, "open_devnet", note)
    with pytest.raises(_Asked):
        asyncio.run(found())
    [(directory, options)] = asked
    directory.rmdir()
    assert (options.nodes, options.closing_every) == (4, MAINNET.closing_every)
