"""Events and effects in a few words, for people who read a trace."""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from lockstep.primitives.block import Ballot
from lockstep.primitives.messages import BatchBody, ProposalMessage
from lockstep.primitives.votes import Freeze, Vote
from lockstep.replica.effects import (
    BatchHeld,
    BlockDecided,
    Broadcast,
    Notify,
    OwnConfirm,
    OwnVote,
    Persist,
    RoundSigned,
    Send,
    SetTimer,
    TransactionsFinal,
)
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    BlockFetched,
    FreezeReceived,
    ProposalReceived,
    Timer,
    TimerFired,
    VotesReceived,
)

Names = Mapping[bytes, str]
_NOBODY: Final[Names] = {}
_ITEMS_MAX: Final = 4
_TEXT_MAX: Final = 80


def describe(thing: object, names: Names = _NOBODY) -> str:
    """Return one line on an event, effect or message.

    Args:
        thing: What to describe.
        names: How keys and member ids are called; other hashes are cut to eight characters.
    """
    match thing:
        case Broadcast(message=message):
            return f"broadcast {describe(message, names)}"
        case Send(peer=peer, message=message):
            return f"send to {_short(peer, names)} {describe(message, names)}"
        case Persist(record=record):
            return f"persist {_describe_record(record, names)}"
        case SetTimer(timer=timer, delay_ms=delay_ms):
            return f"timer {_describe_timer(timer)} in {delay_ms} ms"
        case TimerFired(timer=timer):
            return f"timer {_describe_timer(timer)}"
        case Notify(notice=TransactionsFinal() as final):
            txids = " ".join(_short(txid, names) for txid in final.txids)
            return f"notify final {txids} in epoch {final.epoch} by {final.weight}"
        case Notify(notice=notice):
            return f"notify {_describe_any(notice, names)}"
        case BatchReceived(peer=peer, batch=batch):
            name = f"{_short(batch.batch_id, names)} of {len(batch.txids)}"
            return f"batch {name} from {_short(peer, names)}"
        case VotesReceived(peer=peer, votes=words) | BallotsReceived(peer=peer, ballots=words):
            said = ", ".join(describe(word, names) for word in words)
            return f"from {_short(peer, names)} {said}"
        case FreezeReceived(peer=peer, freeze=word) | ProposalReceived(peer=peer, message=word):
            return f"from {_short(peer, names)} {describe(word, names)}"
        case BlockFetched(peer=peer, decided=decided):
            return f"from {_short(peer, names)} decided block {decided.block.header.height}"
        case _:
            return _describe_message(thing, names)


def _describe_message(message: object, names: Names) -> str:
    match message:
        case Vote(kind=kind, epoch=epoch, voter=voter, entries=entries):
            named = " ".join(f"{_short(e.batch_id, names)}:{e.bitmap.hex()}" for e in entries)
            return f"{kind.name.lower()} of {_short(voter, names)} in epoch {epoch} on {named}"
        case Freeze(epoch=epoch, voter=voter, entries=entries):
            by = _short(voter, names)
            return f"freeze of {by} in epoch {epoch} with {len(entries)} entries"
        case Ballot(kind=kind, height=height, round=round_number, block_id=block_id, voter=voter):
            place = f"{height}/{round_number} for {_short(block_id, names)}"
            return f"{kind.name.lower()} of {_short(voter, names)} at {place}"
        case ProposalMessage(proposal=proposal, block=block):
            place = f"{proposal.height}/{proposal.round} valid round {proposal.valid_round}"
            by, value = _short(proposal.proposer, names), _short(proposal.block_id, names)
            return f"proposal of {by} at {place}: {value} with {len(block.parts)} parts"
        case BatchBody(body=body):
            return f"batch body of {len(body)} bytes"
        case _:
            return _describe_any(message, names)


def _describe_record(record: object, names: Names) -> str:
    match record:
        case BatchHeld(batch_id=batch_id):
            return f"batch {_short(batch_id, names)}"
        case OwnVote(vote=vote) | OwnConfirm(confirm=vote):
            return describe(vote, names)
        case RoundSigned(height=height, round=round_number, proposal=proposal, ballot=ballot):
            place = f"{height}/{round_number}"
            if ballot is not None:
                return describe(ballot, names)
            return f"round {place}" if proposal is None else f"proposal at {place}"
        case BlockDecided(decided=decided, delta=delta, freeze=freeze):
            header = decided.block.header
            words = f"decision of {delta.height} in round {decided.certificate.round}"
            words += f" with {len(delta.txids)} payments, epoch {header.epoch}"
            words += ", closing" if header.is_closing else ""
            return words + ("" if freeze is None else ", and our freeze")
        case _:
            return _describe_any(record, names)


def _describe_timer(timer: Timer) -> str:
    return f"{timer.kind.name.lower()} {timer.height}/{timer.round}"


def _describe_any(thing: object, names: Names) -> str:
    """Describe what needs no words of its own by the names of its fields."""
    match thing:
        case bytes():
            return _short(thing, names)
        case Enum():
            return thing.name.lower()
        case tuple() | list():
            items = [_describe_any(item, names) for item in thing[:_ITEMS_MAX]]
            more = [f"{len(thing) - _ITEMS_MAX} more"] if len(thing) > _ITEMS_MAX else []
            return f"[{', '.join(items + more)}]"
        case Struct():
            fields = [
                f"{name}={_describe_any(getattr(thing, name), names)}"
                for name in thing.__struct_fields__
            ]
            return f"{type(thing).__name__}({', '.join(fields)})"
        case str():
            return thing if len(thing) <= _TEXT_MAX else thing[:_TEXT_MAX] + "..."
        case _:
            return repr(thing) if isinstance(thing, int | None) else type(thing).__name__


def _short(key: bytes | None, names: Names) -> str:
    if key is None:
        return "nil"
    return names.get(key) or key.hex()[:8]
