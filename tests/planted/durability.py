"""Bugs planted into what must be on the disk before it is said, and into how it comes back [2.6].

The disk here is the simulator's: what it forgets is what a real store would have lost.
"""

from typing import Any

from lockstep.ledger.coins import CoinOverlay
from lockstep.replica.effects import BlockDecided, Persist
from lockstep.sim.disk import Disk
from lockstep.sim.host import Host
from planted.patching import Patch, Plant


def forget(kind: type) -> Plant:
    """Return a bug that loses all journal records of a kind at a restart."""

    def plant(patch: Patch) -> None:
        journal = Disk.journal
        patch.setattr(
            Disk, "journal", lambda disk: [r for r in journal(disk) if not isinstance(r, kind)]
        )

    return plant


def send_before_sync(patch: Patch) -> None:
    """Let messages leave while their records are still being written [D1]."""
    pump = Host._pump

    def hasty(host: Any) -> None:
        if host._in_flight is None and host._waiting:
            host._release([e for e in host._waiting if not isinstance(e, Persist)])
            host._waiting = [e for e in host._waiting if isinstance(e, Persist)]
        pump(host)

    patch.setattr(Host, "_pump", hasty)


def no_sync(patch: Patch) -> None:
    """Lose the last commit of the journal in a crash though it was reported as done [D1]."""
    commit, crash = Disk.commit, Host.crash
    unsynced: dict[int, list[Any]] = {}

    def lazy(disk: Any, records: Any) -> None:
        held = list(records)
        unsynced[id(disk)] = [r for r in held if not isinstance(r, BlockDecided)]
        commit(disk, held)

    def crashed(host: Any, *, is_flushed: bool) -> None:
        crash(host, is_flushed=False)
        lost = {id(record) for record in unsynced.pop(id(host.disk), ())}
        host.disk._journal = [r for r in host.disk._journal if id(r) not in lost]

    patch.setattr(Disk, "commit", lazy)
    patch.setattr(Host, "crash", crashed)


def spent_coins_only_on_disk(patch: Patch) -> None:
    """Answer for a coin as if the blocks not yet written had not spent it [T8]."""
    patch.setattr(CoinOverlay, "apply", lambda *_: None)


def spent_coins_come_back(patch: Patch) -> None:
    """Forget in a restart that coins were spent: they were taken away in memory only [T8]."""
    start = Host.start

    def started(host: Any) -> None:
        for decided in host.disk.blocks[-3:]:
            for transaction in decided.block.transactions:
                for outpoint in transaction.body.inputs:
                    host.disk.coins.setdefault(outpoint, next(iter(host.disk.coins.values())))
        start(host)

    patch.setattr(Host, "start", started)
