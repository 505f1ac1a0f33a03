"""A node that has too many callers for the moment is asked for its numbers again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lockstep.client.faults import BadAnswer, NodeUnreachable
from lockstep.load import counters
from lockstep.load.station import StationSettings
from lockstep.observability.metrics import NodeMetrics


@contextmanager
def answering(statuses: list[int], place: Path) -> Iterator[StationSettings]:
    """Answer with these statuses in turn, then well."""
    page = NodeMetrics().render()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = statuses.pop(0) if statuses else 200
            body = page if status == 200 else b"Service Unavailable"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    cookie = place / "cookie"
    cookie.write_text("lockstep:secret")
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield StationSettings(0, "127.0.0.1", server.server_port, str(cookie))
        finally:
            server.shutdown()
            thread.join()


async def test_a_busy_node_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "BUSY_PAUSE_S", 0.01)
    with answering([503, 503], tmp_path) as station:
        [numbers] = await counters.read_numbers([station])
        assert numbers.rss_bytes > 0
    monkeypatch.setattr(counters, "TIMEOUT_S", 0.05)
    with (
        answering([503] * 100, tmp_path) as station,
        pytest.raises(NodeUnreachable, match="too many callers"),
    ):
        await counters.read_numbers([station])


async def test_what_is_no_node_is_not(tmp_path: Path) -> None:
    with answering([404], tmp_path) as station, pytest.raises(BadAnswer):
        await counters.read_numbers([station])
