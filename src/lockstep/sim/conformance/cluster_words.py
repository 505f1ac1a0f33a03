"""The states of a cluster of the model, and what a member takes in a step, in our words."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from lockstep.consensus.rounds import RoundOutput, TimeoutKind
from lockstep.primitives.block import Ballot, Proposal
from lockstep.sim.conformance.itf import DamagedTrace, Variant
from lockstep.sim.conformance.words import (
    BookWord,
    ProposalWord,
    StateWord,
    VoteWord,
    read_record,
    to_ballot,
    to_outputs,
    to_proposal,
    to_timeout,
)

_OWN_STEPS: Final = ("StepChangeDInput", "PendingDInput", "NoDInput")
"""Steps the model's member takes by itself, where ours has acted already."""

Message = Proposal | Ballot | tuple[Ballot, ...] | TimeoutKind | bytes
"""What a driver is given: a certificate is a tuple, an answer to GetValue is bytes."""


class EngineWord(Struct, frozen=True, rename="camel"):
    """A member's engine in the model."""

    cs: StateWord
    bk: BookWord
    valset: dict[str, int]
    pending_inputs: list[tuple[Variant, Any, Any]]
    started: bool


class NodeWord(Struct, frozen=True, rename="camel"):
    """A member: its engine, as it is written, and the votes that wait before it."""

    es: dict[str, Any]
    incoming_votes: list[VoteWord] = []
    incoming_certificates: list[list[VoteWord]] = []


class HistoryWord(Struct, frozen=True):
    """Who took which input last, and what came out."""

    validator: str
    input: Variant
    output: Variant


class Cluster(Struct, frozen=True):
    """One state of the cluster."""

    history: HistoryWord
    nodes: dict[str, NodeWord]
    engines: dict[str, EngineWord]


class MemberStep(Struct, frozen=True):
    """One member's step between two states of the cluster.

    Attributes:
        message: What it was given; None where it starts, or goes on by itself.
        starts: Whether it begins its height in this step.
        at_start: What had come before it began, and is counted then.
        outputs: What the model's member asks for.
    """

    name: str
    event: str
    message: Message | None
    starts: bool
    at_start: tuple[Ballot | tuple[Ballot, ...], ...]
    outputs: tuple[RoundOutput, ...]
    before: EngineWord
    after: EngineWord


def read_cluster(state: dict[str, Any]) -> Cluster:
    """Read one state of the trace.

    Raises:
        DamagedTrace: If it is not of the known model.
    """
    said = state["_hist"]
    if isinstance(said, tuple):  # An older form of the model writes a tuple.
        said = dict(zip(("validator", "input", "output"), said, strict=False))
    nodes = read_record(state["system"], dict[str, NodeWord])
    return Cluster(
        history=read_record(said, HistoryWord),
        nodes=nodes,
        engines={name: read_record(node.es, EngineWord) for name, node in nodes.items()},
    )


def read_step(before: Cluster, after: Cluster) -> MemberStep | None:
    """Return the step a member took, or None where the environment moved messages or heights.

    Raises:
        DamagedTrace: If its input or output is none of the model's.
    """
    history = after.history
    name = history.validator
    if name not in after.nodes or (
        before.history == history and not has_moved(before, after, name)
    ):
        return None
    starts = after.engines[name].started and not before.engines[name].started
    return MemberStep(
        name=name,
        event=history.input.tag,
        message=_to_message(history.input),
        starts=starts,
        at_start=_read_at_start(before.nodes[name], after.nodes[name]) if starts else (),
        outputs=to_outputs(history.output),
        before=before.engines[name],
        after=after.engines[name],
    )


def has_moved(before: Cluster, after: Cluster, name: str) -> bool:
    """Tell whether the member's engine changed other than by being made for another height."""
    same_height = before.engines[name].cs.height == after.engines[name].cs.height
    return same_height and before.nodes[name].es != after.nodes[name].es


def _to_message(word: Variant) -> Message | None:
    """Translate a driver's input."""
    match word:
        case Variant("StartDInput", _):
            return None
        case Variant(tag, _) if tag in _OWN_STEPS:
            return None
        case Variant("ProposalDInput", raw):
            return to_proposal(read_record(raw, ProposalWord))
        case Variant("ProposeValueDInput", str(value)):
            return value.encode()
        case Variant("VoteDInput", raw):
            return to_ballot(read_record(raw, VoteWord))
        case Variant("CertificateDInput", raw):
            return _to_certificate(read_record(raw, list[VoteWord]))
        case Variant("TimeoutDInput", Variant() as kind):
            return to_timeout(kind)
    raise DamagedTrace(f"{word.tag!r} with this content is no input of the model's driver")


def _read_at_start(before: NodeWord, after: NodeWord) -> tuple[Ballot | tuple[Ballot, ...], ...]:
    """Return the votes and certificates that a member counts when it begins a height."""
    return (
        *(to_ballot(v) for v in before.incoming_votes if v not in after.incoming_votes),
        *(
            _to_certificate(votes)
            for votes in before.incoming_certificates
            if votes not in after.incoming_certificates
        ),
    )


def _to_certificate(votes: Sequence[VoteWord]) -> tuple[Ballot, ...]:
    return tuple(to_ballot(vote) for vote in votes)
