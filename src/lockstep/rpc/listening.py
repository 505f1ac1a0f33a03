"""Binding the RPC's own socket, before the server starts, with faults a person can act on."""

import ipaddress
import socket

from lockstep.errors import Fatal


class AddressTaken(Fatal):
    """The RPC address cannot be bound."""

    code = "rpc.address"
    hint = "choose another with rpc_listen, or stop the program that uses it"


class AddressOpen(Fatal):
    """The RPC address is reachable from other machines, and nobody said that it should be."""

    code = "rpc.address_open"
    hint = "bind to 127.0.0.1, or allow it and put TLS in front"


def bind_rpc(host: str, port: int, *, allow_remote: bool = False) -> socket.socket:
    """Bind a listening socket; port 0 takes a free one.

    Raises:
        AddressOpen: If the address is not loopback and `allow_remote` is not set.
        AddressTaken: If the address cannot be bound.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as fault:
        raise AddressTaken(f"the RPC address {host}:{port} is unknown: {fault}") from fault
    if not (ipaddress.ip_address(address[0]).is_loopback or allow_remote):
        raise AddressOpen(f"the RPC address {host}:{port} is open to other machines")
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as fault:
        listener.close()
        raise AddressTaken(f"the RPC address {host}:{port} cannot be bound: {fault}") from fault
    listener.setblocking(False)
    return listener
