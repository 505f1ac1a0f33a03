"""The store: one data directory, one writing process, one synced write a commit [D1, D4, T8].

Opened once a process. `commit` belongs to the storage thread; the rest is called before that thread
starts or after it ended. Coins and places of transactions follow behind, in the index [T8].
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from lockstep.errors import Misuse
from lockstep.ledger.state import ChainState
from lockstep.primitives.codec import decode, encode
from lockstep.primitives.genesis import Genesis
from lockstep.primitives.messages import DecidedBlock
from lockstep.replica.effects import (
    AmnesiaEnded,
    AmnesiaNoted,
    BatchHeld,
    BlockDecided,
    OwnFreeze,
    Record,
)
from lockstep.storage.blocks import ChainRows, load_decided
from lockstep.storage.crashpoints import reach
from lockstep.storage.creation import make_chain
from lockstep.storage.directory import (
    CHAIN_DIRECTORY,
    DirectoryLock,
    Witness,
    describe_shortage,
    is_want_of_room,
    open_environment,
)
from lockstep.storage.faults import (
    AlreadyCreated,
    CorruptedRecord,
    DiskFull,
    ForeignKey,
    MissingChain,
    typed_faults,
)
from lockstep.storage.flusher import Flusher, FlushLimits
from lockstep.storage.identity import check_identity, read_binding
from lockstep.storage.index import INDEX_DIRECTORY, Index
from lockstep.storage.journal import Journal
from lockstep.storage.layers import Layers
from lockstep.storage.memory import cache_bytes
from lockstep.storage.readers import Readers
from lockstep.storage.replaying import replay_blocks
from lockstep.storage.schema import (
    CHAIN_KEY,
    ROW_BYTES_MAX,
    STATE_KEY,
    Binding,
    JournalRow,
    Tables,
)
from lockstep.storage.soundness import check_counts, check_pages
from lockstep.storage.spent import keep_spent
from lockstep.storage.tables import LmdbTransaction

_LIMITS: Final = FlushLimits()


class Store:
    """The database of one node; made by `open`, `create` and `inspect`.

    Attributes:
        has_amnesia: The voting key may have signed what this journal does not hold, so nothing may
            be signed until an epoch that began later [D3].
    """

    def __init__(
        self, directory: Path, lock: DirectoryLock, limits: FlushLimits, *, readonly: bool
    ) -> None:
        """Open both environments under a lock, which the store owns from now on."""
        path = self._path = directory / CHAIN_DIRECTORY
        self.has_amnesia = False
        self._binding: Binding
        self._is_writing = False
        self._lock = lock
        self._readers: list[Readers] = []
        self._failure: Exception | None = None
        with typed_faults("opening the database"), ExitStack() as undo:
            self._witness = Witness(path)
            undo.callback(self._witness.close)
            if not self._witness.is_clean:
                check_pages(path)
                check_pages(path / INDEX_DIRECTORY)
            if not readonly:
                # A page may be so damaged that reading it ends the process: the next start looks.
                self._witness.write(self._witness.commit_number, is_clean=False)
                reach("open.witness.unclean")
            self._env = open_environment(path, readonly=readonly)
            undo.callback(self._env.close)
            self._tables = Tables(self._env)
            self._index = Index(path, readonly=readonly)
            undo.pop_all()
        self._layers = Layers()
        self._flusher = Flusher(self._index, self._layers, limits)
        self._journal = Journal(self._tables)
        self._height = 0

    @classmethod
    def create(cls, directory: Path, genesis: Genesis, *, voting_key: bytes | None) -> None:
        """Make the journal together with the voting key, to whose 32-byte public half it is bound.

        Called once, by `init`, before the key can have signed anything [D3].

        Raises:
            AlreadyCreated: If there is a chain in the directory.
            DirectoryLocked: If another process uses the directory.
            StorageFailed: If the system refuses.
        """
        with DirectoryLock(directory):
            if (directory / CHAIN_DIRECTORY).exists():
                raise AlreadyCreated(f"{directory} holds a chain already")
            make_chain(directory, genesis, voting_key=voting_key, is_intact=True)

    @classmethod
    def open(
        cls,
        directory: Path,
        genesis: Genesis,
        *,
        voting_key: bytes | None,
        limits: FlushLimits = _LIMITS,
    ) -> "Store":
        """Take the directory's lock and open its chain, which is made where it is missing.

        `limits` say when the index follows. A chain that had to be made for a voting key
        `has_amnesia`: the key may be older [D3].

        Raises:
            DirectoryLocked: If another process uses the directory.
            WrongChain: If the chain is not the one `genesis` begins.
            ForeignKey: If the journal belongs to another voting key, or to none.
            NewerSchema, OlderSchema: If another version wrote the database.
            CorruptedRecord: If it is damaged [D4].
            StorageFailed: If the system refuses.
        """
        with ExitStack() as undo:
            lock = undo.enter_context(DirectoryLock(directory))
            reach("open.lock.after")
            if not (directory / CHAIN_DIRECTORY).exists():
                intact = voting_key is None
                make_chain(directory, genesis, voting_key=voting_key, is_intact=intact)
            store = cls(directory, lock, limits, readonly=False)
            undo.callback(store.close)
            store._check_database(genesis)
            reach("open.check.after")
            store._check_key(voting_key)
            store._begin_writing()
            reach("open.store.after")
            undo.pop_all()
        return store

    @classmethod
    def inspect(cls, directory: Path, genesis: Genesis) -> "Store":
        """Open the chain of a stopped node for reading only, whatever its voting key.

        Raises:
            MissingChain: If there is none.
            DirectoryLocked: If the node still runs.
            WrongChain: If the chain is not the one `genesis` begins.
            CorruptedRecord: If it is damaged [D4].
        """
        if not (directory / CHAIN_DIRECTORY).exists():
            raise MissingChain(f"there is no chain in {directory}")
        with ExitStack() as undo:
            lock = undo.enter_context(DirectoryLock(directory))
            store = cls(directory, lock, _LIMITS, readonly=True)
            undo.callback(store.close)
            store._check_database(genesis)
            undo.pop_all()
        return store

    def commit(self, records: Sequence[Record]) -> None:
        """Make the records durable together, in order, by one synced write transaction [D1].

        When it returns everything is on the disk. When it raises the store takes no more, because
        the core is ahead of the disk from then on. Only where there was no room nothing was
        written, and the same records may be given again, once there is. Where the index is far
        behind, the commit waits for it.

        Raises:
            DiskFull: If there is no room; the same records may be given again.
            CorruptedRecord: If the records do not fit what is there.
            StorageFailed: If the system refuses.
        """
        if not self._is_writing or self._failure is not None:
            raise Misuse("this store takes no records any more") from self._failure
        try:
            self._flusher.make_room()
            self._write(records)
        except BaseException as fault:
            self._layers.withdraw()
            self._failure = fault if isinstance(fault, Exception) else Misuse("interrupted")
            if not is_want_of_room(fault, self._path):
                raise
            # LMDB dropped the whole transaction; so must what we remember of it.
            self._recall()
            self._failure = None
            raise DiskFull("the disk is full; nothing of the last commit was written") from fault
        self._layers.settle(self._height)
        try:
            self._flusher.nudge()
        except Exception as fault:
            self._failure = fault
            raise

    def flush(self) -> None:
        """Let the index follow up to the last commit, now and on this thread.

        Only for a store whose limits are not concurrent.

        Raises:
            DiskFull: If there is no room; nothing was written.
            CorruptedRecord, StorageFailed: If the index cannot be written.
        """
        self._flusher.flush()

    def shortage(self) -> str | None:
        """Return in one sentence why nothing more should be written now; None if nothing forbids.

        Raises:
            StorageFailed: If the system refuses to say.
        """
        with typed_faults("looking for room"):
            return describe_shortage(self._path)

    def load_state(self) -> ChainState:
        """Return the chain's state as it was last committed.

        Raises:
            CorruptedRecord: If it is damaged [D4].
        """
        with typed_faults("reading the state"), self._env.begin() as txn:
            return self._load_state(txn)

    def load_tip(self) -> DecidedBlock | None:
        """Return the last decided block, or None at genesis.

        Raises:
            CorruptedRecord: If it is damaged or missing [D4].
        """
        with typed_faults("reading the last block"), self._env.begin() as txn:
            return load_decided(txn, self._tables, self._height) if self._height else None

    def load_journal(self) -> list[Record]:
        """Return what recovery replays: kept batches as they came, then the journal in order [D2].

        This node's FREEZE comes back in its place as an `OwnFreeze`, wherever it was written.

        Raises:
            CorruptedRecord: If a record is damaged or lost [D4].
        """
        with typed_faults("reading the journal"), self._env.begin() as txn:
            batches, rows = self._journal.load(txn)
        return [*batches, *rows]

    def readers(self, *, size_bytes: Callable[[], int] = cache_bytes) -> Readers:
        """Return a new snapshot for one thread, with a cache of this size; the store closes it."""
        with typed_faults("taking a snapshot"):
            readers = Readers(
                *(self._env, self._tables, self._index, self._layers), size_bytes=size_bytes
            )
        self._readers.append(readers)
        return readers

    def close(self) -> None:
        """Flush what the index lacks, close snapshots and files, and give the directory back.

        Raises:
            CorruptedRecord, StorageFailed: If the index cannot be written.
        """
        for readers in self._readers:
            readers.close()
        try:
            self._flusher.close(is_sound=self._is_writing and self._failure is None)
        except Exception as fault:
            self._failure = fault
            raise
        finally:
            self._close_files()

    def _close_files(self) -> None:
        self._index.close()
        self._env.close()
        reach("close.database.after")
        if self._is_writing and self._failure is None:
            self._witness.write(self._witness.commit_number, is_clean=True)
        self._is_writing = False
        self._witness.close()
        reach("close.witness.after")
        self._lock.release()

    def _write(self, records: Sequence[Record]) -> None:
        reach("commit.begin.before")
        rows = ChainRows()
        state: ChainState | None = None
        with typed_faults("committing"):
            with self._env.begin(write=True) as txn:
                for record in records:
                    if isinstance(record, BlockDecided):
                        self._follow(txn, record)
                        rows.add(record)
                        keep_spent(txn, self._tables, record)
                        state = record.state
                    else:
                        self._keep(txn, record)
                if state is not None:
                    rows.write(txn, self._tables)
                    self._tables.state.put(txn, STATE_KEY, encode(state))
                    reach("commit.state.after")
                    # Before the commit ends, so that no snapshot can have a block without it.
                    self._layers.add(rows.layers)
                number = self._journal.seal(txn)
                reach("commit.sync.before")
            reach("commit.sync.after")
        # The commit is on the disk: a witness that cannot follow it is one that lags, no more.
        with suppress(DiskFull), typed_faults("noting the commit"):
            self._witness.write(number, is_clean=False)
        reach("commit.witness.after")

    def _keep(self, txn: LmdbTransaction, record: BatchHeld | JournalRow | AmnesiaEnded) -> None:
        self._journal.keep(txn, record)
        if isinstance(record, AmnesiaNoted | AmnesiaEnded):
            self._bind(txn, is_intact=isinstance(record, AmnesiaEnded))

    def _recall(self) -> None:
        """Remember what the disk holds, where a commit has failed half-way."""
        with typed_faults("reading the journal"), self._env.begin() as txn:
            self._journal.load(txn)
            self._height = self._load_state(txn).height
            self._binding = read_binding(txn, self._tables)
        self.has_amnesia = not self._binding.is_intact

    def _follow(self, txn: LmdbTransaction, record: BlockDecided) -> None:
        """Trim what a decision ends, then journal what it begins [T8]."""
        height = record.delta.height
        if height != self._height + 1 or record.state.height != height:
            raise Misuse(f"height {height} cannot follow height {self._height}")
        self._height = height
        self._journal.trim(txn, height=height, closes_epoch=record.closes_epoch)
        reach("commit.epoch.after" if record.closes_epoch else "commit.trim.after")
        self._journal.drop(txn, record.dropped_batches)
        self._journal.drop_evidence(txn, record.dropped_evidence)
        reach("commit.drop.after")
        if record.freeze is not None:
            self._journal.append(txn, OwnFreeze(freeze=record.freeze))
            reach("commit.freeze.after")

    def _bind(self, txn: LmdbTransaction, *, is_intact: bool) -> None:
        """Say anew whether the journal holds all that its key has signed [D3]."""
        binding = self._binding = replace(self._binding, is_intact=is_intact)
        self._tables.meta.put(txn, CHAIN_KEY, encode(binding))
        self.has_amnesia = not is_intact

    def _begin_writing(self) -> None:
        """Take records from now on; after a power cut the witness may lag behind the database."""
        last_commit = int(self._env.info()["last_txnid"])
        with typed_faults("opening the database"):
            self._witness.write(last_commit, is_clean=False)
        self._is_writing = True

    def _check_key(self, voting_key: bytes | None) -> None:
        """Refuse the journal of another key: it cannot say what this one signed [D3]."""
        if self._binding.voting_key != voting_key:
            raise ForeignKey("the journal in this directory was made for another voting key")
        self.has_amnesia = not self._binding.is_intact

    def _check_database(self, genesis: Genesis) -> None:
        """Refuse a database that is not this chain's or not whole."""
        with typed_faults("checking the database"), self._env.begin() as txn:
            check_identity(txn, self._tables, genesis)
            last_commit = int(self._env.info()["last_txnid"])
            witnessed = self._witness.commit_number
            self._journal.check_commit(txn, last_commit=last_commit, witnessed=witnessed)
            self._journal.load(txn)
            state = self._load_state(txn)
            check_counts(txn, self._tables, state)
            self._binding = read_binding(txn, self._tables)
            self._index.check_counts()
            layers = replay_blocks(txn, self._tables, self._index, genesis=genesis, state=state)
        self._layers.add(layers)
        self._layers.settle(state.height)
        self._height = state.height

    def _load_state(self, txn: LmdbTransaction) -> ChainState:
        value = self._tables.state.get(txn, STATE_KEY)
        if value is None:
            raise CorruptedRecord("the state of the chain is missing")
        return decode(ChainState, value, size_max=ROW_BYTES_MAX)
