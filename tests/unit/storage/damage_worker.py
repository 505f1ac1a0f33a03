"""Reads damaged copies of a database and says of each whether the damage was served.

Run as a program, because a damaged page may make LMDB's own code crash: that is a stop, not a lie.
"""

import sys
from pathlib import Path

from lockstep.errors import LockstepError
from lockstep.replica.effects import Record
from lockstep.storage.store import Store
from unit.storage.made_chain import MadeChain, make_genesis

BLOCKS = 12
PAYMENTS = 25
VOTING_KEY = bytes(range(32))


def grow_chain() -> tuple[MadeChain, list[list[Record]]]:
    """Return the chain that was written, and the records of its commits."""
    chain = MadeChain(make_genesis(300), seed=7)
    commits: list[list[Record]] = []
    for number in range(BLOCKS):
        batches = [chain.batch(3000 if number % 3 else 9000) for _ in range(2)]
        votes: list[Record] = [chain.own_vote(), chain.own_confirm(), chain.quorum()]
        rounds: list[Record] = [chain.round_signed(chain.state.height + 1, r) for r in range(2)]
        commits.append([*batches, *votes, *rounds])
        freeze = chain.freeze() if number == BLOCKS - 1 else None
        closes = number == BLOCKS // 2
        dropped = (batches[0].batch_id,)
        commits.append(
            [chain.decide(PAYMENTS, closes_epoch=closes, freeze=freeze, dropped=dropped)]
        )
    return chain, commits


def read_everything(store: Store, chain: MadeChain) -> list[object]:
    """Return everything a node reads from its database, in one list that can be compared."""
    readers = store.readers()
    outpoints = sorted(chain.coins) + [o for b in chain.blocks for o, _ in b.delta.spent]
    locks = sorted({coin.lock for coin in chain.coins.values()})
    heights = range(chain.state.height + 2)
    return [
        store.load_state(),
        store.load_tip(),
        store.load_journal(),
        readers.coins_of(outpoints),
        [readers.decided(height) for height in heights],
        [readers.height_of_block(b.decided.certificate.block_id) for b in chain.blocks],
        [readers.transaction(txid) for txid in sorted(chain.places)],
        [readers.height_of(outpoint[:32]) for outpoint in outpoints],
        [readers.coins_of_lock(lock, limit=10_000) for lock in locks],
    ]


def judge(directory: Path, chain: MadeChain, truth: list[object]) -> str:
    """Say what came of reading one damaged copy."""
    try:
        store = Store.open(directory, chain.genesis, voting_key=VOTING_KEY)
    except LockstepError as fault:
        return f"refused {fault.code} {fault}"
    try:
        found = read_everything(store, chain)
    except LockstepError as fault:
        return f"refused {fault.code} {fault}"
    finally:
        store.close()
    wrong = [i for i, (a, b) in enumerate(zip(found, truth, strict=True)) if a != b]
    return f"served {wrong}" if wrong else "unharmed"


def main() -> None:
    """Read lines of (file, offset, mask) and answer each with a verdict."""
    directory = Path(sys.argv[1])
    chain, _ = grow_chain()
    store = Store.open(directory, chain.genesis, voting_key=VOTING_KEY)
    truth = read_everything(store, chain)
    store.close()
    for line in sys.stdin:
        name, *numbers = line.split()
        offset, mask = map(int, numbers)
        data = directory / "chain" / name
        with data.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ mask]))
        sys.stdout.write(judge(directory, chain, truth) + "\n")
        sys.stdout.flush()
        with data.open("r+b") as file:
            file.seek(offset)
            file.write(bytes([byte]))


if __name__ == "__main__":
    main()
