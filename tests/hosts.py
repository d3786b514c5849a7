"""Several hosts on this machine: network namespaces on one switch, with names of their own and one file system."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

ENTER = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'


class Hosts:
    """Hosts named host1, host2 and so on.

    Args:
        names: of their namespaces, the switch's first.
        folder: of their files of names.
    """

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self.switch, *self.names = names
        self.folder = folder

    def command(self, host: int, *command: str) -> list[str]:
        """Return a command that runs another on a host, of which the first is 1."""
        hosts = self.folder / f"hosts{host}"
        # as Debian writes it: the own name leads nowhere outside
        own = [f"127.0.1.1 host{host}", "127.0.0.1 localhost"]
        others = [f"10.77.0.{k} host{k}" for k in range(1, len(self.names) + 1) if k != host]
        hosts.write_text("\n".join([*own, *others]) + "\n")
        inside = ["unshare", "--mount", "--uts", "sh", "-c", ENTER, "sh", f"host{host}", str(hosts)]
        return ["ip", "netns", "exec", self.names[host - 1], *inside, *command]

    def link(self, host: int, state: str) -> None:
        """Set a host's link "up" or "down", at the switch: the host itself sees no difference."""
        _ip("-n", self.switch, "link", "set", f"port{host}", state)


@contextmanager
def network(folder: Path, count: int) -> Iterator[Hosts]:
    """Make hosts, and remove them with what still runs on them.

    Skipped where this process may not make any.
    """
    names = [f"shapegen-{os.getpid()}-{k}" for k in range(count + 1)]
    with ExitStack() as stack:
        for name in names:
            try:
                _ip("netns", "add", name)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("no right to make network namespaces")
            stack.callback(_remove, name)
            _ip("-n", name, "link", "set", "lo", "up")
        switch, *others = names
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for k, name in enumerate(others, 1):
            _ip("-n", switch, "link", "add", f"port{k}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("-n", switch, "link", "set", f"port{k}", "master", "switch", "up")
            _ip("-n", name, "address", "add", f"10.77.0.{k}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield Hosts(names, folder)


def _remove(name: str) -> None:
    for process in _ip("netns", "pids", name).split():
        with suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
