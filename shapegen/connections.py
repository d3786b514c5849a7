"""The connections between a team's processes: over which network they go, how long one may be silent, their end."""

from __future__ import annotations

import os
import socket
import stat
import struct
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

SILENCE = timedelta(minutes=2)
"""How long nothing may be heard of another host: shorter gaps in a network are bridged, after it the host is lost."""
PROBES = 6
"""How often a silent host is asked within that time."""
INTERFACE = "GLOO_SOCKET_IFNAME"
_ADDRESS_OF_INTERFACE = 0x8915
"""Linux's ioctl SIOCGIFADDR."""


def sockets() -> set[int]:
    """Return the file descriptors of this process that are sockets; none where the system does not list them."""
    try:
        return {fd for fd in map(int, os.listdir("/dev/fd")) if _is_socket(fd)}
    except OSError:
        return set()


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:  # closed since it was listed
        return False


def hang_up(connections: set[int]) -> None:
    """Shut connections down that are still open: torch sometimes keeps those of a destroyed group, and others who wait
    for this process would never learn that it has left."""
    for fd in connections & sockets():
        with suppress(OSError), socket.socket(fileno=os.dup(fd)) as connection:
            if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):  # one that listens is nobody's
                connection.shutdown(socket.SHUT_RDWR)


def limit_silence(connections: set[int]) -> None:
    """Let connections end where nothing was heard of the other host for `SILENCE`: one that is switched off or cut off
    says no farewell, and who waits for it would wait for ever. Only where the system can (Linux)."""
    seconds = SILENCE.total_seconds()
    options = {
        "TCP_KEEPIDLE": seconds / PROBES,
        "TCP_KEEPINTVL": seconds / PROBES,
        "TCP_KEEPCNT": PROBES - 1,
        "TCP_USER_TIMEOUT": 1000 * seconds,
    }
    for fd in connections:
        with suppress(OSError), socket.socket(fileno=os.dup(fd)) as connection:
            if connection.family not in (socket.AF_INET, socket.AF_INET6):
                continue
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in options.items():
                if hasattr(socket, name):
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(1, int(value)))


def choose_interface(store: Any, rank: int, size: int, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell gloo the network interface by which the hosts of a team reach each other, unless the user has.

    Gloo takes the address of the host's own name. Many systems (Debian's, for one) write that down as 127.0.1.1, where
    no other host finds it. What leads to the team's first host is an interface that leads there, and the first host's
    own is the one with the address that the others know it by.

    Args:
        store: of the team, to which all come.
        rank: this process's number.
        size: how many there are.
    """
    if int(environment.get("LOCAL_WORLD_SIZE", "1")) == size:
        return
    own, first = _ends(environment["MASTER_ADDR"], int(environment["MASTER_PORT"]))
    is_there = bool(own) and not ip_address(own).is_loopback and own != first
    store.set(f"first-host-{rank}", first if is_there else "")  # for those who need it, also where this one does not
    if INTERFACE in environment or sys.platform != "linux":
        return
    if not is_there:
        known = (store.get(f"first-host-{other}").decode() for other in range(size))
        own = next(filter(None, known), "")
    if name := _interface_of(own):
        environment[INTERFACE] = name


def _ends(host: str, port: int) -> tuple[str, str]:
    """Return this host's address on the way to another, and the other's; both empty where there is no way."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect((host, port))  # sends nothing
        return str(asked.getsockname()[0]), str(asked.getpeername()[0])
    return "", ""


def _interface_of(address: str) -> str:
    """Return the name of the interface that has an address; empty where none has."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # has no address
                found = fcntl.ioctl(asked, _ADDRESS_OF_INTERFACE, struct.pack("256s", name.encode()[:15]))
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    return ""
