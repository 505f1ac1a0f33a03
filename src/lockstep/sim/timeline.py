"""Events and effects in a few words, for people who read a trace."""

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
    TransactionsFinal,
)
from lockstep.replica.events import (
    BallotsReceived,
    BatchReceived,
    BlockFetched,
    FreezeReceived,
    ProposalReceived,
    VotesReceived,
)

_WIDTH = 200


def describe(thing: object) -> str:
    """Return one line on an event, effect or message; hashes are cut to eight characters."""
    match thing:
        case Broadcast(message=message):
            return f"broadcast {describe(message)}"
        case Send(peer=peer, message=message):
            return f"send to {_short(peer)} {describe(message)}"
        case Persist(record=record):
            return f"persist {_record(record)}"
        case Notify(notice=TransactionsFinal() as final):
            names = " ".join(_short(txid) for txid in final.txids)
            return f"notify final {names} in epoch {final.epoch} by {final.weight}"
        case Notify(notice=notice):
            return f"notify {_cut(notice)}"
        case BatchReceived(peer=peer, batch=batch):
            return f"batch {_short(batch.batch_id)} of {len(batch.txids)} from {_short(peer)}"
        case VotesReceived(peer=peer, votes=votes):
            return f"from {_short(peer)} " + ", ".join(map(describe, votes))
        case BallotsReceived(peer=peer, ballots=ballots):
            return f"from {_short(peer)} " + ", ".join(map(describe, ballots))
        case FreezeReceived(peer=peer, freeze=freeze):
            return f"from {_short(peer)} {describe(freeze)}"
        case ProposalReceived(peer=peer, message=proposal):
            return f"from {_short(peer)} {describe(proposal)}"
        case BlockFetched(peer=peer, decided=decided):
            return f"from {_short(peer)} decided block {decided.block.header.height}"
        case Vote(kind=kind, epoch=epoch, voter=voter, entries=entries):
            named = " ".join(f"{_short(e.batch_id)}:{e.bitmap.hex()}" for e in entries)
            return f"{kind.name.lower()} of {_short(voter)} in epoch {epoch} on {named}"
        case Freeze(epoch=epoch, voter=voter, entries=entries):
            return f"freeze of {_short(voter)} in epoch {epoch} with {len(entries)} entries"
        case Ballot(kind=kind, height=height, round=round_number, block_id=block_id, voter=voter):
            place = f"{height}/{round_number}"
            return f"{kind.name.lower()} of {_short(voter)} at {place} for {_short(block_id)}"
        case ProposalMessage(proposal=proposal, block=block):
            place = f"{proposal.height}/{proposal.round} valid round {proposal.valid_round}"
            parts = f"{len(block.parts)} parts"
            by = _short(proposal.proposer)
            return f"proposal of {by} at {place}: {_short(proposal.block_id)} with {parts}"
        case BatchBody(body=body):
            return f"batch body of {len(body)} bytes"
        case _:
            return _cut(thing)


def _record(record: object) -> str:
    match record:
        case BatchHeld(batch_id=batch_id):
            return f"batch {_short(batch_id)}"
        case OwnVote(vote=vote) | OwnConfirm(confirm=vote):
            return describe(vote)
        case RoundSigned(height=height, round=round_number, proposal=proposal, ballot=ballot):
            signed = "proposal" if proposal is not None else describe(ballot)
            return f"round {height}/{round_number} {signed}"
        case BlockDecided(delta=delta, freeze=freeze):
            suffix = "" if freeze is None else " with our freeze"
            return f"decision of {delta.height}{suffix}"
        case _:
            return _cut(record)


def _short(key: bytes | None) -> str:
    return "nil" if key is None else key.hex()[:8]


def _cut(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= _WIDTH else text[:_WIDTH] + "..."
