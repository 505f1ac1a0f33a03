"""The journal: what this node said and may not forget, and the batches it stands on [2.6, D2].

Every commit writes a seal over all rows of both tables, so that at the next start a lost row, or a
row that was dropped and is back, is noticed before anything is signed.
"""

from collections.abc import Iterable
from typing import Any, Final, assert_never

from lockstep.primitives.codec import decode, encode
from lockstep.primitives.evidence import Subject, evidence_subject
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    BatchHeld,
    EvidenceHeld,
    OwnConfirm,
    OwnFreeze,
    OwnVote,
    QuorumConfirmed,
    RoundSigned,
)
from lockstep.storage.crashpoints import reach
from lockstep.storage.faults import CorruptedRecord
from lockstep.storage.schema import ROW_BYTES_MAX, SEAL_KEY, JournalRow, Seal, Tables
from lockstep.storage.tables import CHECKSUM_BYTES, LmdbTransaction

_SEQUENCE_BYTES: Final = 8
_NO_ROUND: Final = -1
_LASTING: Final = -2
"""Marks up to this one stand on rows that outlast their epoch."""
_AMNESIA: Final = -2
_EVIDENCE: Final = -3
_JOURNAL_ROW: Final[Any] = JournalRow


class Journal:
    """Writes, trims and reloads the journal; used by the storage thread alone.

    It remembers of each row only its checksum and, for a signed round, its height.
    """

    def __init__(self, tables: Tables) -> None:
        """Begin with an empty journal; `load` reads what is there."""
        self._tables = tables
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._batches: dict[bytes, int] = {}
        self._evidence: dict[Subject, bytes] = {}
        self._next_sequence = 1
        self._digest = 0

    def load(self, txn: LmdbTransaction) -> tuple[list[BatchHeld], list[JournalRow]]:
        """Read the kept batches, oldest first, and the journal in order.

        Raises:
            CorruptedRecord: If a row is damaged, lost or back, or the seal is of another commit.
        """
        self._rows, self._batches, self._evidence, self._digest = {}, {}, {}, 0
        rows: list[JournalRow] = []
        for key, value in self._tables.journal.scan(txn):
            row: JournalRow = decode(_JOURNAL_ROW, value, size_max=ROW_BYTES_MAX)
            rows.append(row)
            self._note_row(key, row, self._tables.journal.checksum(key, value))
        held: list[tuple[bytes, BatchHeld]] = []
        for key, value in self._tables.batches.scan(txn):
            batch = decode(BatchHeld, value[_SEQUENCE_BYTES:], size_max=ROW_BYTES_MAX)
            held.append((value[:_SEQUENCE_BYTES], batch))
            self._note_batch(key, self._tables.batches.checksum(key, value))
        seal = self._read_seal(txn)
        self._next_sequence = seal.next_sequence
        if seal != self._make_seal(seal.commit_number):
            raise CorruptedRecord("a record of the journal is lost, or a dropped one is back")
        return [batch for _, batch in sorted(held, key=lambda pair: pair[0])], rows

    def keep(self, txn: LmdbTransaction, record: BatchHeld | JournalRow | AmnesiaEnded) -> None:
        """Write what a record asks for: a row or a batch, or that older rows go."""
        match record:
            case BatchHeld():
                self.hold(txn, record)
                reach("commit.batch.after")
            case OwnVote():
                self.append(txn, record)
                reach("commit.vote.after")
            case OwnConfirm():
                self.append(txn, record)
                reach("commit.confirm.after")
            case QuorumConfirmed():
                self.append(txn, record)
                reach("commit.final.after")
            case RoundSigned():
                self.append(txn, record)
                reach("commit.round.after")
            case OwnFreeze():
                self.append(txn, record)
                reach("commit.freeze.after")
            case EvidenceHeld():
                self.drop_evidence(txn, [evidence_subject(record.evidence)])
                self.append(txn, record)
                reach("commit.evidence.after")
            case AmnesiaNoted():
                self._forget_amnesia(txn)
                self.append(txn, record)
                reach("commit.amnesia.after")
            case AmnesiaEnded():
                self._forget_amnesia(txn)
                reach("commit.recovery.after")
            case _:
                assert_never(record)

    def append(self, txn: LmdbTransaction, row: JournalRow) -> None:
        """Write the next row."""
        key = self._take_sequence()
        self._note_row(key, row, self._tables.journal.put(txn, key, encode(row)))

    def hold(self, txn: LmdbTransaction, batch: BatchHeld) -> None:
        """Keep a batch until it is dropped."""
        if batch.batch_id not in self._batches:
            value = self._take_sequence() + encode(batch)
            self._note_batch(batch.batch_id, self._tables.batches.put(txn, batch.batch_id, value))

    def drop(self, txn: LmdbTransaction, batch_ids: Iterable[bytes]) -> None:
        """Delete batches nothing pending stands in; an unknown one is gone already."""
        known = [batch_id for batch_id in batch_ids if batch_id in self._batches]
        self._tables.batches.remove(txn, known)
        for batch_id in known:
            self._digest ^= self._batches.pop(batch_id)

    def trim(self, txn: LmdbTransaction, *, height: int, closes_epoch: bool) -> None:
        """Delete what a decision ends: the rounds up to its height, or the epoch's words."""
        over = [
            key
            for key, (signed_height, _) in self._rows.items()
            if (closes_epoch and signed_height > _LASTING) or _NO_ROUND < signed_height <= height
        ]
        self._remove(txn, over)

    def _forget_amnesia(self, txn: LmdbTransaction) -> None:
        """Delete what was noted of amnesia, which outlasts its epoch [D3]."""
        self._remove(txn, [key for key, (mark, _) in self._rows.items() if mark == _AMNESIA])

    def drop_evidence(self, txn: LmdbTransaction, subjects: Iterable[Subject]) -> None:
        """Delete evidence that the chain has used or that is replaced; it outlasts epochs [N4]."""
        known = [subject for subject in subjects if subject in self._evidence]
        self._remove(txn, [self._evidence.pop(subject) for subject in known])

    def _remove(self, txn: LmdbTransaction, keys: list[bytes]) -> None:
        self._tables.journal.remove(txn, keys)
        for key in keys:
            self._digest ^= self._rows.pop(key)[1]

    def seal(self, txn: LmdbTransaction) -> int:
        """Write the seal of this commit and return the commit's number."""
        seal = self._make_seal(txn.id())
        self._tables.state.put(txn, SEAL_KEY, encode(seal))
        return seal.commit_number

    def check_commit(self, txn: LmdbTransaction, *, last_commit: int, witnessed: int) -> None:
        """Refuse a database that is not the one the last commit left [D4].

        Raises:
            CorruptedRecord: If the seal is of another commit than LMDB's root page, or the witness
                saw a later one.
        """
        number = self._read_seal(txn).commit_number
        if number != last_commit or witnessed > number:
            raise CorruptedRecord(
                f"the database is at commit {last_commit}, its seal at {number} and the witness "
                f"outside it at {witnessed}: an older database has come back"
            )

    def _make_seal(self, commit_number: int) -> Seal:
        return Seal(
            commit_number=commit_number,
            next_sequence=self._next_sequence,
            journal_count=len(self._rows),
            batch_count=len(self._batches),
            digest=self._digest.to_bytes(CHECKSUM_BYTES, "big"),
        )

    def _read_seal(self, txn: LmdbTransaction) -> Seal:
        value = self._tables.state.get(txn, SEAL_KEY)
        if value is None:
            raise CorruptedRecord("the seal of the last commit is missing")
        return decode(Seal, value, size_max=ROW_BYTES_MAX)

    def _take_sequence(self) -> bytes:
        key = self._next_sequence.to_bytes(_SEQUENCE_BYTES, "big")
        self._next_sequence += 1
        return key

    def _note_row(self, key: bytes, row: JournalRow, checksum: bytes) -> None:
        match row:
            case RoundSigned():
                height = row.height
            case AmnesiaNoted():
                height = _AMNESIA
            case EvidenceHeld(evidence=evidence):
                height = _EVIDENCE
                self._evidence[evidence_subject(evidence)] = key
            case _:
                height = _NO_ROUND
        number = int.from_bytes(checksum, "big")
        self._rows[key] = (height, number)
        self._digest ^= number

    def _note_batch(self, batch_id: bytes, checksum: bytes) -> None:
        number = int.from_bytes(checksum, "big")
        self._batches[batch_id] = number
        self._digest ^= number
