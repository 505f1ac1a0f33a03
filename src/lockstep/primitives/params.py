"""Chain parameters of every network: each limit a named constant, in this one place [2.11].

What differs between networks stands in `ChainParams`. Devnet values that a user may choose come
with the genesis, because every node of a chain must agree on them.
"""

from typing import Final

from msgspec import Struct

from lockstep.errors import Misuse

RULE_SET: Final = 1
COIN: Final = 100_000_000
SUPPLY_MAX: Final = 10_000_000_000 * COIN
DUST: Final = 546
FEE_MIN: Final = 1_000
FEE_PER_BYTE: Final = 4
MEMBERS_MIN: Final = 4

ISSUANCE_PER_INTERVAL: Final = 100 * COIN
ISSUANCE_INTERVAL_MS: Final = 600_000

ORDINARY_BLOCK_BYTES_MAX: Final = 16 * 1024 * 1024
CLOSING_BLOCK_BYTES_MAX: Final = 48 * 1024 * 1024
VOTED_BYTES_MAX: Final = CLOSING_BLOCK_BYTES_MAX // 3
WAITING_SHARE: Final = 8
WAITING_AGE_MS: Final = 2_000
PAGE_BYTES_MAX: Final = 1024 * 1024

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
HELLO_FRAME_BYTES_MAX: Final = 16 * 1024

BATCH_GATHER_MS: Final = 3
BATCH_LOAD_MS: Final = 25
BATCH_LARGE_SET_MS: Final = 50
LARGE_SET_MEMBERS: Final = 31
UNKNOWN_ENTRIES_MAX: Final = 1_000
FETCH_DELAY_MS: Final = 200

POOL_TRANSACTIONS_MAX: Final = 10_000
POOL_BYTES_MAX: Final = 300_000_000
REFUSED_MAX: Final = 1_000

PROPOSE_TIMEOUT_MS: Final = 600
PROPOSE_TIMEOUT_STEP_MS: Final = 300
VOTE_TIMEOUT_MS: Final = 300
VOTE_TIMEOUT_STEP_MS: Final = 150
RESEND_MS: Final = 1_000
RESEND_MAX_MS: Final = 10_000


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
