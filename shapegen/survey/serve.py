"""Serving a study until Ctrl-C."""

from __future__ import annotations

import errno
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.errors import ConfigError
from shapegen.lock import Lock
from shapegen.progress import say
from shapegen.survey.answers import Answers
from shapegen.survey.app import LOCAL, create_app, missing_library
from shapegen.survey.study import ANSWERS, Study, load_study

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 8321
"""Fixed, so that links hold when the server is started again."""
THREADS = 16


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    url: str | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Serve a study to its readers until Ctrl-C, or until a service manager ends it (SIGTERM).

    Args:
        folder: the study.
        host: address to listen on; anything but this machine's own is said clearly.
        port: 0 for any that is free; links then differ from those of last time.
        url: where readers reach the server, as behind a proxy.
        show: gets each line of links: a reader's name and the link.

    Raises:
        MissingLibraryError: the extra `shapegen[survey]` is not installed.
        RunFolderError: the folder is no finished study, or is served already.
        ConfigError: the port or the host cannot be used.
        CorruptFileError: a file of the study is damaged.
    """
    try:
        from waitress.server import create_server
    except ImportError as error:
        raise missing_library(error) from error

    study = load_study(folder)
    lock = Lock(folder)
    answers = Answers(folder / ANSWERS)
    local = host in LOCAL and url is None
    try:
        app = create_app(study, answers) if local else create_app(study, answers, hosts=None)
        try:
            # By its number: a name may stand for two addresses, each with a port of its own.
            number = "127.0.0.1" if host == "localhost" else host
            server = create_server(app, host=number, port=port, threads=THREADS, ident=None)
        except OSError as error:
            raise _unusable(host, port, error) from error
        address = f"[{host}]" if ":" in host else host
        base = (url or f"http://{address}:{getattr(server, 'effective_port', port)}").rstrip("/")
        _announce(study, base, local=local, show=show)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        server.run()  # until Ctrl-C
        say("stopped; every answer that came is kept")
    finally:
        answers.close()
        lock.release()


def _announce(study: Study, base: str, *, local: bool, show: Callable[[str], None]) -> None:
    for reader in study.readers:
        show(f"{reader.name}  {base}/r/{reader.token}/")
    if not local:
        say("warning: other machines can reach this server; only who has a link sees anything")
    if not local and not base.startswith("https:"):
        say("warning: http is not encrypted; put a proxy with https in front and give its address with --url")
    say("serving; Ctrl-C ends it. Give each reader one link, and no other")


def _unusable(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"port {port} is in use; give another --port, or 0 for any that is free")
    if error.errno == errno.EACCES:
        return ConfigError(f"port {port} is not allowed for users; give one above 1023, or 0 for any")
    return ConfigError(f"cannot listen on '{host}' ({error}); give an address of this machine, such as 127.0.0.1")
