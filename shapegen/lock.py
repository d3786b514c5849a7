"""One process at a time in a run folder. The operating system holds the lock, so it ends with the process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from shapegen.errors import RunFolderError

_HELD: set[int] = set()
"""File descriptors of the locks that this process holds."""


class Lock:
    """An exclusive lock on `folder/lock`, which holds the process's number for people to read.

    Raises:
        RunFolderError: another process has it; the text names that process.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._descriptor: int | None = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _acquire(self._descriptor)
        except OSError as error:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            os.close(self._descriptor)
            self._descriptor = None
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
                raise
            raise RunFolderError(
                f"{folder} is in use by another shapegen (process {owner or 'unknown'}); "
                "wait for it, stop it, or choose another --out"
            ) from None
        _HELD.add(self._descriptor)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the folder free. The file stays: deleting it could take the lock from under another process."""
        if self._descriptor is not None:
            _HELD.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


try:
    import fcntl
except ImportError:  # Windows

    def _acquire(descriptor: int) -> None:
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind the number, which stays readable
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        os.lseek(descriptor, 0, os.SEEK_SET)

else:

    def _acquire(descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # some network file systems have no locks: a run without one is better than none
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise

    def _close_in_child() -> None:
        for descriptor in _HELD:
            os.close(descriptor)
        _HELD.clear()

    # a forked worker that outlives a killed parent must not keep the lock
    os.register_at_fork(after_in_child=_close_in_child)
