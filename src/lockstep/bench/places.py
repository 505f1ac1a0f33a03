"""Where a benchmark finds data that only a checkout, or a developer's machine, has."""

from pathlib import Path

from msgspec import Struct


class Places(Struct, frozen=True):
    """Directories; one that is not there is None, and the report says what was left out.

    Attributes:
        tests: The tests of the checkout.
        vectors: The external vectors beside it.
    """

    tests: Path | None
    vectors: Path | None
