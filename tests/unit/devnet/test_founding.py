"""A devnet's directory is one devnet's at a time, and the next run goes on where it was."""

from pathlib import Path

import pytest

from lockstep.devnet.founding import open_devnet
from lockstep.devnet.options import DevnetOptions
from lockstep.storage.faults import DirectoryLocked


def content(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_second_devnet_in_a_directory_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """Its ports are taken, and with others it would have told the nodes of the first."""
    options = DevnetOptions(nodes=4)
    with open_devnet(tmp_path / "net", options) as first:
        before = content(tmp_path)
        with pytest.raises(DirectoryLocked), open_devnet(tmp_path / "net", options):
            pass
        assert content(tmp_path) == before
    with open_devnet(tmp_path / "net", options) as again:
        assert (first.is_new, again.is_new) == (True, False)
        assert (again.ports, again.genesis) == (first.ports, first.genesis)
