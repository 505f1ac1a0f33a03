"""Error families by who must react.

Every error has a `code` (stable, dotted, for programs) and a sentence (for people). Rooms define
their own classes below one of the four families; nothing here knows what went wrong, only who must
act.
"""

from typing import ClassVar


class LockstepError(Exception):
    """The root of every error Lockstep raises on purpose.

    Attributes:
        code: Stable dotted name, listed in the error reference.
        hint: The next step for the person who reads the sentence, or an empty string.
    """

    code: ClassVar[str] = "error"
    hint: ClassVar[str] = ""


class Rejected(LockstepError):
    """The sender is at fault; our state is untouched."""

    code = "rejected"


class Unavailable(LockstepError):
    """Nobody is at fault; the same request may succeed later."""

    code = "unavailable"


class Misuse(LockstepError):
    """The caller broke a contract: a defect in our own code."""

    code = "misuse"


class Fatal(LockstepError):
    """The disk or an invariant is gone; the process must stop."""

    code = "fatal"
