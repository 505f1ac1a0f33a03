"""A devnet has its ports for itself as long as it runs, and keeps them from run to run."""

import itertools
import multiprocessing
import socket
from multiprocessing.synchronize import Barrier

from lockstep.devnet.ports import HOST, NodePorts, hold_ports

AT_ONCE = 4
NODES = 5


def numbers(chosen: list[NodePorts]) -> list[int]:
    return [number for ports in chosen for number in (ports.p2p, ports.rpc, ports.metrics)]


def test_taken_ports_are_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        wish = NodePorts(p2p=port - 1, rpc=port, metrics=port + 1)
        with hold_ports(3, preferred=[wish]) as chosen:
            assert port not in numbers(chosen)
            assert len(dict.fromkeys(numbers(chosen))) == 9
    with hold_ports(3, preferred=chosen) as again:
        assert again == chosen


def test_ports_are_held_before_and_between_the_lives_of_nodes() -> None:
    with hold_ports(NODES) as first:
        # As nodes bind, and without a node anywhere.
        for number in numbers(first):
            with socket.socket() as node:
                node.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                node.bind((HOST, number))
        with hold_ports(NODES, preferred=first) as second:
            assert not {*numbers(first)} & {*numbers(second)}


def test_devnets_started_at_the_same_moment_have_different_ports() -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(AT_ONCE)
    said = context.SimpleQueue()
    children = [context.Process(target=hold, args=(barrier, said)) for _ in range(AT_ONCE)]
    for child in children:
        child.start()
    found = [said.get() for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    for one, other in itertools.combinations(found, 2):
        assert not {*one} & {*other}


def hold(barrier: Barrier, said: "multiprocessing.SimpleQueue[list[int]]") -> None:
    """Take ports when all others do, and give them back when all have some."""
    barrier.wait()
    with hold_ports(NODES) as chosen:
        said.put(numbers(chosen))
        barrier.wait()
