"""What this node lacks and whom it asks for it: batch bodies and certificates [B3, F2].

Nothing is asked for at once, for it is mostly on its way already; then one source after the other
is asked until the thing has come or nobody wants it any more.
"""

from typing import Final

from lockstep.primitives.messages import BATCH_IDS_MAX, GetBatches, GetVotes

FIRST_DELAY_MS: Final = 40
WANTED_MAX: Final = 4_096
"""Batches or certificates that are being looked for; the oldest falls out."""


Sources = dict[bytes, None]
"""Peers that are known to have a thing, in the order in which they said so."""


class Fetches:
    """Batches and votes wanted, bounded; owned by the replica.

    Wants are made anew before each turn by whoever still lacks something, and forgotten after it.
    """

    def __init__(self) -> None:
        """Want nothing."""
        self.batches: dict[bytes, Sources] = {}
        self.votes: dict[bytes, Sources] = {}
        self.claims: dict[bytes, tuple[int, Sources]] = {}
        self.timer_set = False
        self._turn = 0

    def want_batch(self, batch_id: bytes, source: bytes | None) -> None:
        """Want the body of a batch that `source` named."""
        _want(self.batches, batch_id, source)

    def want_votes(self, batch_id: bytes, source: bytes | None) -> None:
        """Want the Votes and Confirms on a batch, of which `source` holds a certificate."""
        _want(self.votes, batch_id, source)

    def claim(self, batch_id: bytes, source: bytes | None, time_ms: int) -> None:
        """Note that `source` says it holds certificates on a batch that are not held here [F2]."""
        held = self.claims.get(batch_id)
        if held is None:
            if len(self.claims) >= WANTED_MAX:
                del self.claims[next(iter(self.claims))]
            held = self.claims[batch_id] = (time_ms, {})
        if source is not None:
            held[1][source] = None

    def is_idle(self) -> bool:
        """Tell whether nothing is wanted and nothing may come to be."""
        return not self.batches and not self.votes and not self.claims

    def next_requests(
        self, epoch: int, peers: list[bytes]
    ) -> list[tuple[bytes, GetBatches | GetVotes]]:
        """Return whom to ask for what now, and forget the wants.

        Turn by turn each thing is asked of its next source, and then of anybody.
        """
        requests: list[tuple[bytes, GetBatches | GetVotes]] = []
        for peer, ids in _assign(self.batches, peers, self._turn).items():
            requests.extend((peer, GetBatches(page)) for page in _pages(ids))
        for peer, ids in _assign(self.votes, peers, self._turn).items():
            requests.extend((peer, GetVotes(epoch, page)) for page in _pages(ids))
        self._turn += 1
        self.batches, self.votes = {}, {}
        return requests

    def enter_epoch(self) -> None:
        """Forget everything: votes and batches of the old epoch are over."""
        self.batches, self.votes, self.claims = {}, {}, {}


def _pages(ids: list[bytes]) -> list[tuple[bytes, ...]]:
    return [tuple(ids[i : i + BATCH_IDS_MAX]) for i in range(0, len(ids), BATCH_IDS_MAX)]


def _want(table: dict[bytes, Sources], key: bytes, source: bytes | None) -> None:
    sources = table.get(key)
    if sources is None:
        if len(table) >= WANTED_MAX:
            del table[next(iter(table))]
        sources = table[key] = {}
    if source is not None:
        sources[source] = None


def _assign(table: dict[bytes, Sources], peers: list[bytes], turn: int) -> dict[bytes, list[bytes]]:
    connected = dict.fromkeys(peers)
    assigned: dict[bytes, list[bytes]] = {}
    for key, sources in table.items():
        known = [peer for peer in sources if peer in connected]
        order = known + [peer for peer in peers if peer not in sources]
        if order:
            assigned.setdefault(order[turn % len(order)], []).append(key)
    return assigned
