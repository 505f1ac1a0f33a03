"""A recording gives back every frame as it came, and no half of one that a kill cut short."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lockstep.node.recorder import Recorder, read_recording

ROWS = st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.binary(max_size=300)), max_size=9)


@given(ROWS, st.integers(0, 400))
def test_whole_rows_are_read_back_in_order(
    tmp_path_factory: object, rows: list[tuple[bytes, bytes]], cut: int
) -> None:
    path = Path(tmp_path_factory.mktemp("recording")) / "frames"  # type: ignore[attr-defined]  # A fixture of pytest.
    for peer, frame in rows:
        # A restarted node goes on where the one before it stopped.
        recorder = Recorder(path)
        recorder.add(peer, [frame])
        recorder.close()
    path.touch()
    assert list(read_recording(path)) == rows
    data = path.read_bytes()
    path.write_bytes(data[: max(0, len(data) - cut)])
    whole = list(read_recording(path))
    assert whole == rows[: len(whole)]
    assert cut == 0 or len(whole) < max(1, len(rows))
