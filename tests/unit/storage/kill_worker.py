"""Commits without end, saying the number of each commit that returned; made to be killed."""

import sys
from collections.abc import Iterator
from pathlib import Path

from lockstep.replica.effects import Record
from lockstep.storage.flusher import FlushLimits
from lockstep.storage.store import Store
from unit.storage.made_chain import MadeChain, make_genesis

VOTING_KEY = bytes(32)


def make_commits(chain: MadeChain) -> Iterator[list[Record]]:
    """Yield the records of one commit after the other, the same in every process."""
    while True:
        batch = chain.batch(30_000)
        height = chain.state.height + 1
        yield [batch, chain.own_vote(), chain.round_signed(height), chain.own_confirm()]
        closes = height % 5 == 0
        freeze = chain.freeze() if height % 5 == 4 else None
        dropped = (batch.batch_id,) if height % 2 else ()
        yield [
            chain.decide(40, closes_epoch=closes, freeze=freeze, dropped=dropped),
            chain.quorum(),
        ]


def main() -> None:
    """Go on from the commit whose number is the second argument."""
    chain = MadeChain(make_genesis(200), seed=3)
    commits = make_commits(chain)
    # The index follows on its thread all the time, so that kills meet it too.
    store = Store.open(
        Path(sys.argv[1]),
        chain.genesis,
        voting_key=VOTING_KEY,
        limits=FlushLimits(changes=200),
    )
    for number, records in enumerate(commits, 1):
        if number > int(sys.argv[2]):
            store.commit(records)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
