"""What the load of a devnet is told: which nodes, which keys, how much."""

from pathlib import Path
from typing import Final

from lockstep.devnet.founding import Devnet
from lockstep.devnet.options import DevnetOptions
from lockstep.devnet.ports import HOST
from lockstep.load.payments import LOAD_ACCOUNT
from lockstep.load.settings import LoadSettings
from lockstep.load.station import StationSettings
from lockstep.node.config import COOKIE_FILE
from lockstep.primitives.params import params_of
from lockstep.primitives.transaction import make_single_lock

PAYEE_INDEX: Final = 1


def make_stations(devnet: Devnet, evidence: Path | None) -> list[StationSettings]:
    """Return where the nodes are, with a file for the notices of each where `evidence` is named."""
    return [
        StationSettings(
            index=index,
            host=HOST,
            rpc_port=ports.rpc,
            cookie=str(devnet.place.node_directory(index) / COOKIE_FILE),
            notices=str(evidence / f"node{index}.notices") if evidence else "",
        )
        for index, ports in enumerate(devnet.ports)
    ]


def make_load_settings(devnet: Devnet, options: DevnetOptions, evidence: Path) -> LoadSettings:
    """Return the settings of a load that wants every payment through and records for the judge."""
    payee = devnet.keychain.key(PAYEE_INDEX, account=LOAD_ACCOUNT)
    return LoadSettings(
        stations=make_stations(devnet, evidence),
        seeds=[devnet.keychain.seed(0, account=LOAD_ACCOUNT).hex()],
        prefix=params_of(devnet.genesis.network).address_prefix,
        payee_lock=make_single_lock(payee.public_key).hex(),
        chain_id=devnet.genesis.chain_id.hex(),
        pairs=options.double_spend,
    )
