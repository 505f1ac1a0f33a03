"""What the journal must hold after any commits, said in the plainest way."""

from collections.abc import Iterable

from lockstep.primitives.evidence import Subject, evidence_subject
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    BatchHeld,
    BlockDecided,
    EvidenceHeld,
    Record,
    RoundSigned,
)


class JournalModel:
    """A list of records and a list of batches, trimmed as the records say [2.6, T8]."""

    def __init__(self) -> None:
        self.rows: list[Record] = []
        self.batches: list[BatchHeld] = []

    def commit(self, records: Iterable[Record]) -> None:
        for record in records:
            if isinstance(record, BatchHeld):
                if all(batch.batch_id != record.batch_id for batch in self.batches):
                    self.batches.append(record)
            elif isinstance(record, EvidenceHeld):
                self.drop_evidence([evidence_subject(record.evidence)])
                self.rows.append(record)
            elif isinstance(record, BlockDecided):
                self.decide(record)
            elif isinstance(record, AmnesiaNoted | AmnesiaEnded):
                self.rows = [row for row in self.rows if not isinstance(row, AmnesiaNoted)]
                self.rows += [record] if isinstance(record, AmnesiaNoted) else []
            else:
                self.rows.append(record)

    def decide(self, record: BlockDecided) -> None:
        height = record.delta.height
        self.rows = [
            row
            for row in self.rows
            if isinstance(row, EvidenceHeld | AmnesiaNoted)
            or (
                not record.closes_epoch
                and not (isinstance(row, RoundSigned) and row.height <= height)
            )
        ]
        self.batches = [b for b in self.batches if b.batch_id not in record.dropped_batches]
        self.drop_evidence(record.dropped_evidence)
        if record.freeze is not None:
            self.rows.append(record)

    def drop_evidence(self, subjects: Iterable[Subject]) -> None:
        over = list(subjects)
        self.rows = [
            row
            for row in self.rows
            if not (isinstance(row, EvidenceHeld) and evidence_subject(row.evidence) in over)
        ]

    def expected(self) -> list[object]:
        """Return what recovery reads, a FREEZE standing for the decision it came with."""
        return [*self.batches, *map(essence, self.rows)]


def essence(record: object) -> object:
    """Return the record, or the FREEZE where one came alone or with a decision."""
    return getattr(record, "freeze", record)
