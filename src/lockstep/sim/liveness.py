"""What must come about once the world is whole: all level, every coin free [T7, T8].

Only honest nodes are looked at: those that lie go on lying, and nothing may hang on them.
"""

from collections.abc import Mapping, Sequence

from lockstep.sim.chain_checker import ChainChecker
from lockstep.sim.clients import Payment
from lockstep.sim.host import Host


class Progress:
    """Says what is still missing for a pass."""

    def __init__(
        self, hosts: Sequence[Host], payments: Mapping[bytes, Payment], chain: ChainChecker
    ) -> None:
        """Look at these nodes, payments and the chain that all share."""
        self._hosts = hosts
        self._payments = payments
        self._chain = chain
        self._open: dict[bytes, None] | None = None

    def is_resolved(self, txid: bytes) -> bool:
        """Tell whether a payment is in the chain, or can never be since a rival is."""
        if txid in self._chain.heights:
            return True
        pending = [txid]
        while pending:
            current = pending.pop()
            for outpoint in self._payments[current].transaction.body.inputs:
                if outpoint in self._chain.spender_of:
                    return True
                if outpoint[:32] in self._payments and outpoint[:32] not in self._chain.heights:
                    pending.append(outpoint[:32])
        return False

    def missing(self) -> str:
        """Return what a pass still lacks, an empty string when nothing."""
        down = [host.index for host in self._hosts if not host.is_up]
        if down:
            return f"nodes {down} are down"
        if self._open is None:
            self._open = dict.fromkeys(self._payments)
        self._open = {txid: None for txid in self._open if not self.is_resolved(txid)}
        if self._open:
            return self._describe_open()
        heights = [self._height_of(host) for host in self._hosts]
        if min(heights) != self._chain.height:
            return f"the nodes are at heights {heights}"
        return self._find_leftover()

    def contradictions(self) -> list[str]:
        """Return uncontested payments that did not make it into the chain: none may be."""
        return [
            f"uncontested {txid.hex()[:16]} is not in the chain ({payment.refusal or 'accepted'})"
            for txid, payment in self._payments.items()
            if not payment.is_contested and txid not in self._chain.heights
        ]

    def _find_leftover(self) -> str:
        """Return a payment that a node still holds though the chain spent its coins [T8]."""
        for host in self._hosts:
            if host.replica is None:
                continue
            for pending in host.replica.view.pending_page(None, len(self._payments)):
                inputs = pending.transaction.body.inputs
                if any(outpoint in self._chain.spender_of for outpoint in inputs):
                    place = f"node {host.index} still holds {pending.txid.hex()[:16]}"
                    return f"{place}, a coin of which was spent in the chain"
        return ""

    def _describe_open(self) -> str:
        open_txids = list(self._open or ())
        first = self._payments[open_txids[0]]
        said = "accepted" if first.is_accepted else f"never accepted, last {first.refusal!r}"
        kind = "contested" if first.is_contested else "uncontested"
        return (
            f"{len(open_txids)} payments are open, the first {first.txid.hex()[:16]}, {kind}, "
            f"{said}; the nodes are at heights {[self._height_of(host) for host in self._hosts]}"
        )

    @staticmethod
    def _height_of(host: Host) -> int:
        return -1 if host.replica is None else host.replica.view.state.height
