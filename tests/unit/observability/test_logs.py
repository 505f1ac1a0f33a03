"""Logs: one JSON object a line with its facts, and no secret in any of them."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.observability.logs import STRUCK_OUT, close_logs, configure_logs


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers = []
    path = tmp_path / "log" / "node.log"
    configure_logs(path, "info")
    yield path
    close_logs()
    logging.captureWarnings(capture=False)
    root.handlers, root.level = before, level


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_is_an_object_with_the_facts_of_the_event(log: Path) -> None:
    logging.getLogger("lockstep.net").info("up", extra={"height": 5, "peer": b"\x01\x02"})
    logging.getLogger("lockstep.net").debug("too fine")
    [row] = rows(log)
    assert (row["event"], row["level"], row["logger"]) == ("up", "info", "lockstep.net")
    assert (row["height"], row["peer"]) == (5, "0102")
    assert str(row["timestamp"]).endswith("Z")
    assert log.stat().st_mode & 0o077 == 0


def test_secrets_are_struck_out_by_name_at_any_depth(log: Path) -> None:
    facts = {
        "voting_seed": "aa",
        "passphrase": b"bb",
        "request": {"Authorization": "cc", "headers": {"cookie": "dd"}, "height": 1},
        "height": 2,
    }
    logging.getLogger("lockstep").warning("careless", extra=facts)
    [row] = rows(log)
    assert row["voting_seed"] == row["passphrase"] == STRUCK_OUT
    assert row["request"] == {
        "Authorization": STRUCK_OUT,
        "headers": {"cookie": STRUCK_OUT},
        "height": 1,
    }
    assert row["height"] == 2


def test_an_error_brings_its_trace_in_the_same_line(log: Path) -> None:
    try:
        int("gone wrong")
    except ValueError:
        logging.getLogger("lockstep").exception("defect")
    [row] = rows(log)
    assert "ValueError: invalid literal" in str(row["exception"])
