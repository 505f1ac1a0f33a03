"""Ports for the nodes: the usual ones, or others that are free, held while the devnet runs."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from msgspec import Struct

from lockstep.errors import Unavailable
from lockstep.primitives.params import DEVNET

HOST: Final = "127.0.0.1"
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


@contextmanager
def hold_ports(count: int, *, preferred: Sequence[NodePorts] = ()) -> Iterator[list[NodePorts]]:
    """Yield free ports for `count` nodes: the preferred ones, the usual ones, else others.

    Node i usually has 24200 + 10 i for peers, the next for RPC, the one after for metrics [2.11].
    They are held until the end, also while no node listens: another devnet takes others, even one
    that is started at the same moment.

    Raises:
        NoFreePorts: If there are none.
    """
    chosen: list[NodePorts] = []
    first = DEVNET.p2p_port
    with ExitStack() as stack:
        for index in range(count):
            usual = DEVNET.p2p_port + STRIDE * index
            first = max(first, usual)
            if index < len(preferred) and _take(preferred[index], stack):
                chosen.append(preferred[index])
                continue
            while not _take(ports := _from(first), stack):
                first += STRIDE
                if first > LAST_PORT:
                    raise NoFreePorts(f"no free ports from {usual} to {LAST_PORT}")
            chosen.append(ports)
            first += STRIDE
        yield chosen


def _take(ports: NodePorts, stack: ExitStack) -> bool:
    """Hold ports, if they are free, until the stack is closed.

    Who holds them is bound to the port behind them, which only one socket can be; the system frees
    it with the process, however that ends.
    """
    holder = socket.socket()
    try:
        holder.bind((HOST, ports.metrics + 1))
    except OSError:
        holder.close()
        return False
    if not _are_free(ports):
        holder.close()
        return False
    stack.callback(holder.close)
    return True


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
