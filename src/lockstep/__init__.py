"""Lockstep: a masternode payment network with payments final by quorum.

The rooms and who may import whom are told in ARCHITECTURE.md; the rules of the protocol, as
numbered clauses, in docs/spec.
"""

from typing import Final

__version__: Final = "0.1.0"
