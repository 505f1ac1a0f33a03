"""Chain parameters of every network: each limit a named constant, in this one place [2.11].

What differs between networks stands in `ChainParams`. Devnet values that a user may choose come
with the genesis, because every node of a chain must agree on them.
"""

from typing import Final

from msgspec import Struct

from lockstep.errors import Misuse

RULE_SET: Final = 2
"""The rules this version keeps; part of what nodes compare when they greet."""
COIN: Final = 100_000_000
"""Base units in one coin [L1]."""
SUPPLY_MAX: Final = 10_000_000_000 * COIN
"""No output, and no sum of outputs, is larger [L4]."""
DUST: Final = 546
"""The least output, in base units [L4]."""
FEE_MIN: Final = 1_000
"""The least fee of a transaction, in base units [L4]."""
FEE_PER_BYTE: Final = 4
"""The least fee for each encoded byte, witnesses included [L4]."""
MEMBERS_MIN: Final = 4
"""A set of masternodes is never smaller."""

ISSUANCE_PER_INTERVAL: Final = 100 * COIN
"""New base units for each interval of block time [N3]."""
ISSUANCE_INTERVAL_MS: Final = 600_000
"""The interval that issuance is reckoned by [N3]."""

ORDINARY_BLOCK_BYTES_MAX: Final = 16 * 1024 * 1024
"""Encoded transactions of an ordinary block."""
CLOSING_BLOCK_BYTES_MAX: Final = 48 * 1024 * 1024
"""Encoded transactions of a closing block."""
VOTED_BYTES_MAX: Final = CLOSING_BLOCK_BYTES_MAX // 3
"""M: what a masternode has voted for and what is not in its chain [F6]."""
WAITING_SHARE: Final = 8
"""Uncertified payments fill at most this part of a closing block [T6]."""
WAITING_AGE_MS: Final = 2_000
"""How long a proposer holds one before it goes into a closing block [T6]."""
EVIDENCE_BYTES_MAX: Final = 1_000_000
"""Encoded evidence of a block, and so of one piece [N4]."""
EVIDENCE_EPOCHS: Final = 100
"""How long evidence may come into a block after its epoch [N4]."""
PAGE_BYTES_MAX: Final = 1024 * 1024
"""The page in which blocks travel and are stored."""

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
"""A frame between peers, checked before anything is kept for it."""
HELLO_FRAME_BYTES_MAX: Final = 16 * 1024
"""The first frame of a connection, from somebody not greeted yet."""

BATCH_GATHER_MS: Final = 3
"""How long a batch waits for company while no commit is in flight [B1]."""
BATCH_LOAD_MS: Final = 25
"""How long it waits at most while one is [B1]."""
BATCH_LARGE_SET_MS: Final = 50
"""The same in a large set, which makes more batches [B1]."""
BATCH_PACE_MS: Final = 100
"""How long a batch that is not full waits at most for the one before it to be final."""
LARGE_SET_MEMBERS: Final = 31
"""A set with more members is a large one [B1]."""
UNKNOWN_ENTRIES_MAX: Final = 1_000
"""Entries of one voter kept for batches that have not come; oldest go first [B3]."""
FETCH_DELAY_MS: Final = 200
"""How long a certificate or batch may be missing before it is asked for [F2]."""

POOL_TRANSACTIONS_MAX: Final = 10_000
"""Payments in the pool that this node has not voted for."""
POOL_BYTES_MAX: Final = 300_000_000
"""Encoded bytes of the same."""
REFUSED_MAX: Final = 1_000
"""Refused payments remembered with their reason."""

PROPOSE_TIMEOUT_MS: Final = 600
"""How long round 0 waits for a proposal [T1]."""
PROPOSE_TIMEOUT_STEP_MS: Final = 300
"""How much longer each later round waits."""
VOTE_TIMEOUT_MS: Final = 300
"""How long round 0 waits for one value's quorum of prevotes, or of precommits [T1]."""
VOTE_TIMEOUT_STEP_MS: Final = 150
"""How much longer each later round waits."""
RESEND_MS: Final = 1_000
"""First pause before a node repeats its messages of an undecided height [T10]."""
RESEND_MAX_MS: Final = 10_000
"""The pause doubles up to this."""


class ChainParams(Struct, frozen=True):
    """What differs between networks.

    Attributes:
        network: Name, and the name of the data subdirectory.
        address_prefix: Human-readable part of addresses [L7].
        p2p_port: Usual port for peers; RPC is the next, metrics the one after.
        closing_every: K, heights an epoch [M4].
        block_interval_ms: From a decision to the next proposal while certified payments wait.
        idle_interval_ms: The same while none wait.
        genesis_hash: Chain id the genesis file must hash to, or None where any may.
    """

    network: str
    address_prefix: str
    p2p_port: int
    closing_every: int
    block_interval_ms: int
    idle_interval_ms: int
    genesis_hash: bytes | None


MAINNET: Final = ChainParams("mainnet", "ls", 24000, 20, 250, 1000, None)
TESTNET: Final = ChainParams("testnet", "tls", 24100, 20, 250, 1000, None)
DEVNET: Final = ChainParams("devnet", "dls", 24200, 10, 250, 1000, None)
NETWORKS: Final = {params.network: params for params in (MAINNET, TESTNET, DEVNET)}


def params_of(network: str) -> ChainParams:
    """Return the parameters of a network by name.

    Raises:
        Misuse: If there is no network of this name.
    """
    try:
        return NETWORKS[network]
    except KeyError as fault:
        raise Misuse(f"there is no network {network!r}; known: {', '.join(NETWORKS)}") from fault
