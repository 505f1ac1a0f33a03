"""Each transcript is played again and must come out as it stands; REWRITE=1 writes it anew.

A rewritten transcript is reviewed as a change of behaviour: `git diff tests/interaction`.
"""

import os
from pathlib import Path

import pytest

from interaction.script import Script

ROOT = Path(__file__).parent
TRANSCRIPTS = sorted(ROOT.glob("*/*.txt"))


@pytest.mark.parametrize(
    "path", TRANSCRIPTS, ids=lambda path: str(path.relative_to(ROOT).with_suffix(""))
)
def test_transcript(path: Path) -> None:
    told = path.read_text()
    played = Script().play(told)
    if os.environ.get("REWRITE") == "1":
        path.write_text(played)
    else:
        assert played == told


def test_a_transcript_that_tells_another_story_fails() -> None:
    """A changed answer is found, and an unknown word is no answer."""
    told = (ROOT / "fast-path" / "one-payment.txt").read_text()
    assert Script().play(told.replace(" final ", " certified ")) != told.replace(
        " final ", " certified "
    )
    with pytest.raises(AssertionError):
        Script().play("> dance")
