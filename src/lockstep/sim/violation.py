"""The verdict of a checker: a promise of the protocol was broken."""

from lockstep.errors import Fatal


class Violation(Fatal):
    """A promise was broken in the simulated world.

    Attributes:
        rule: Short name of the promise.
    """

    code = "sim.violation"
    hint = "replay the seed with --trace to see what led to it"

    def __init__(self, rule: str, sentence: str) -> None:
        """Say which promise was broken, and how."""
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
