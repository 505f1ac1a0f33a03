"""Whether this node may sign, and what it still has to hear before it does [D3].

Every life begins silent. `amnesia` holds the rules; here is only what they remember.
"""

from lockstep.errors import Rejected
from lockstep.primitives.messages import OwnWords


class ContradictoryPages(Rejected):
    """The pages of one answer do not fit each other."""

    code = "amnesia.pages"


class Answer:
    """What one member has said of our key so far, and how far its chain was when it said so."""

    __slots__ = ("epoch", "height", "pages")

    def __init__(self, words: OwnWords) -> None:
        """Begin an answer with any of its pages."""
        self.height = words.height
        self.epoch = words.epoch
        self.pages: dict[int, bool] = dict.fromkeys(range(words.pages), False)

    def take(self, words: OwnWords) -> None:
        """Note that a page has come.

        Raises:
            ContradictoryPages: If there is no such page.
        """
        if words.page not in self.pages:
            raise ContradictoryPages(f"page {words.page} of {len(self.pages)}")
        self.pages[words.page] = True

    @property
    def is_whole(self) -> bool:
        """Tell whether every page has come."""
        return all(self.pages.values())


class Silence:
    """The state of the rule that nothing is signed before it is known what was signed [D3].

    Attributes:
        has_amnesia: The journal lacks, or may lack, what the key has signed.
        last_epoch: With amnesia: the last epoch of silence; None while that is not known.
        shown_epoch: The highest epoch of a word that the journal was found to lack, or -1.
        is_lifted: The node may sign.
        question: Number of the question under way; answers to others do not count.
        is_asking: Whether answers are still waited for.
        answers: By member id.
    """

    __slots__ = (
        "answers",
        "has_amnesia",
        "is_asking",
        "is_lifted",
        "last_epoch",
        "question",
        "shown_epoch",
    )

    def __init__(self, *, has_amnesia: bool) -> None:
        """Be silent; nothing is asked yet."""
        self.has_amnesia = has_amnesia
        self.last_epoch: int | None = None
        self.shown_epoch = -1
        self.is_lifted = False
        self.question = 0
        self.is_asking = False
        self.answers: dict[bytes, Answer] = {}

    def recall(self, last_epoch: int | None) -> None:
        """Take it from the journal that the node has amnesia."""
        self.has_amnesia = True
        self.last_epoch = last_epoch

    def forget(self) -> None:
        """Take it that the amnesia is over: the journal is whole from here on."""
        self.has_amnesia = False
        self.last_epoch = None
        self.shown_epoch = -1

    def ask(self, time_ms: int) -> None:
        """Begin a question; its number tells its answers from those to any earlier one."""
        self.question = max(time_ms, self.question + 1)
        self.is_asking = True
        self.answers = {}

    def take(self, member_id: bytes, words: OwnWords) -> None:
        """Note a page of a member's answer; one given at another height replaces the last.

        Raises:
            ContradictoryPages: If it does not fit the pages that came before.
        """
        held = self.answers.get(member_id)
        if held is None or (held.height, len(held.pages)) != (words.height, words.pages):
            held = self.answers[member_id] = Answer(words)
        held.take(words)

    def counted(self, epoch: int, height: int) -> list[bytes]:
        """Return the members whose answers count for one who stands at this epoch and height.

        A member that is ahead has forgotten what was signed in between, so its answer counts when
        we are where it was; one of another epoch knows nothing of this one.
        """
        return [
            member_id
            for member_id, answer in self.answers.items()
            if answer.epoch == epoch and answer.height <= height and answer.is_whole
        ]
