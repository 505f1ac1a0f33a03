"""Ports for the nodes: the usual ones, or others that are free."""

import socket
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from lockstep.errors import Unavailable
from lockstep.primitives.params import DEVNET

HOST: Final = "127.0.0.1"
PORTS_PER_NODE: Final = 3
STRIDE: Final = 10
LAST_PORT: Final = 65_000


class NoFreePorts(Unavailable):
    """No run of free ports was found."""

    code = "devnet.ports"
    hint = "end some of the programs that listen on this machine"


class NodePorts(Struct, frozen=True):
    """The ports of one node on the loopback interface."""

    p2p: int
    rpc: int
    metrics: int


def choose_ports(count: int, *, preferred: Sequence[NodePorts] = ()) -> list[NodePorts]:
    """Return free ports for `count` nodes: the preferred ones, the usual ones, else others.

    Node i usually has 24200 + 10 i for peers, the next for RPC, the one after for metrics [2.11].

    Raises:
        NoFreePorts: If there are none.
    """
    chosen: list[NodePorts] = []
    first = DEVNET.p2p_port
    for index in range(count):
        wished = [preferred[index]] if index < len(preferred) else []
        usual = DEVNET.p2p_port + STRIDE * index
        first = max(first, usual)
        for ports in wished:
            if _are_free(ports) and ports not in chosen:
                chosen.append(ports)
                break
        else:
            while not _are_free(ports := _from(first)) or ports in chosen:
                first += STRIDE
                if first > LAST_PORT:
                    raise NoFreePorts(f"no free ports from {usual} to {LAST_PORT}")
            chosen.append(ports)
            first += STRIDE
    return chosen


def _from(first: int) -> NodePorts:
    return NodePorts(p2p=first, rpc=first + 1, metrics=first + 2)


def _are_free(ports: NodePorts) -> bool:
    for port in (ports.p2p, ports.rpc, ports.metrics):
        with socket.socket() as probe:
            # As the nodes bind: a port in TIME_WAIT from the last run is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
