"""Logs: one JSON object a line, secrets struck out; the only place that configures logging.

Every room logs by the standard logger, with a short event as message and its facts in `extra`.
"""

import logging
import re
from collections.abc import Mapping, MutableMapping
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final

import structlog

STRUCK_OUT: Final = "[secret]"
_SECRET_NAME: Final = re.compile(
    r"seed|secret|passphrase|password|cookie|mnemonic|words|private|authorization|voting_key_hex",
    re.IGNORECASE,
)
_USUAL: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    *("message", "asctime", "taskName"),
    # uvicorn's own, for terminals.
    "color_message",
}


def configure_logs(path: Path, level: str) -> None:
    """Log to this file from now on, at this level and above; only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600, exist_ok=True)
    handler = WatchedFileHandler(path, encoding="utf-8")
    handler.setFormatter(_formatter())
    root = logging.getLogger()
    for previous in list(root.handlers):
        root.removeHandler(previous)
        previous.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)


def close_logs() -> None:
    """Flush and close what `configure_logs` opened."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()


def _formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            _add_facts,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            strike_out_secrets,
            structlog.processors.JSONRenderer(default=_describe),
        ],
    )


def _add_facts(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    record: logging.LogRecord = event["_record"]
    event.update((name, value) for name, value in vars(record).items() if name not in _USUAL)
    return event


def strike_out_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the value of every fact whose name says that it is secret, at any depth."""
    for name, value in list(event.items()):
        if _SECRET_NAME.search(name):
            event[name] = STRUCK_OUT
        elif isinstance(value, Mapping):
            event[name] = strike_out_secrets(None, "", dict(value))
    return event


def _describe(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
