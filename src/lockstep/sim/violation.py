"""The verdict of a checker: a promise of the protocol was broken."""

from lockstep.errors import Fatal


class Violation(Fatal):
    """A promise was broken in the simulated world.

    Attributes:
        rule: Short name of the promise.
        culprits: Member ids that two quorums in contradiction name, where they do [R2].
    """

    code = "sim.violation"
    hint = "replay the seed with --trace to see what led to it"

    def __init__(self, rule: str, sentence: str, culprits: tuple[bytes, ...] = ()) -> None:
        """Say which promise was broken, and how, and by whom if that is known."""
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        self.culprits = culprits
