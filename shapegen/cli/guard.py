"""Turns what a command raises into one clear line and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, ParamSpec

import typer

from shapegen.errors import (
    ConfigError,
    PluginCollisionError,
    PluginNotFoundError,
    PluginRaisedError,
    RunFolderError,
    ShapegenError,
    TeamBrokenError,
)
from shapegen.team import BROKEN

DEBUG = "SHAPEGEN_DEBUG"
"""Environment variable: anything but empty or 0 shows full tracebacks."""

USAGE = (ConfigError, PluginCollisionError, PluginNotFoundError, RunFolderError)
"""Errors that another command line puts right: exit code 2. Others exit with 1."""

P = ParamSpec("P")


class _Where:
    folder: Path | None = None


def remember(folder: Path) -> None:
    """Note the run folder that the command works in, where a traceback is then written."""
    _Where.folder = folder


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: what it raises becomes one line on standard error and an exit code."""

    @functools.wraps(command)
    def inner(*args: P.args, **kwargs: P.kwargs) -> None:
        _Where.folder = None
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            _fail("interrupted; run the same command again to go on", 130)
        except Exception as error:
            if os.environ.get(DEBUG, "0") not in ("", "0"):
                raise
            _report(error)

    return inner


def code_of(command: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> int:
    """Call a function as a command of its own and return its exit code; `BROKEN`, without a word, if its team broke."""

    def quietly(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except TeamBrokenError:
            raise typer.Exit(BROKEN) from None

    try:
        guarded(quietly)(*args, **kwargs)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0


def _report(error: Exception) -> NoReturn:
    if isinstance(error, PluginRaisedError):
        _fail(f"{error}{_traceback_hint(error)}", 1)
    if isinstance(error, ShapegenError):
        _fail(str(error), 2 if isinstance(error, USAGE) else 1)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"disk full{where}: nothing finished is lost; free some space and run the same command again to go on", 1)
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        raise error  # whoever read our output has gone: the command line library ends quietly
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        _fail(f"{error.filename}: {error.strerror}; choose a place that can be written, or change its permissions", 1)
    if isinstance(error, MemoryError):
        _fail("out of memory; a smaller batch, resolution or number of workers needs less", 1)
    text = " ".join(str(error).split())
    _fail(f"unexpected {type(error).__name__}{_plugin_of(error)}: {text}{_traceback_hint(error)}", 1)


def _plugin_of(error: Exception) -> str:
    """Say in which plugin's module an error arose, if that is where the traceback ends before libraries begin."""
    from shapegen.discovery import find_plugins

    found = {each.point.module.partition(".")[0]: each.source.distribution for each in find_plugins()[0]}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top == "shapegen":
            return ""
        if top in found:
            return f" in {module}, line {line}, of {found[top]}"
    return ""


def _traceback_hint(error: Exception) -> str:
    text = "".join(traceback.format_exception(error))
    for folder in (_Where.folder, Path(tempfile.gettempdir())):
        if folder is not None and folder.is_dir():
            path = folder / ("error.log" if folder == _Where.folder else f"shapegen-error-{os.getpid()}.log")
            try:
                path.write_text(text, encoding="utf-8")
            except OSError:
                continue
            return f" (traceback in {path}; {DEBUG}=1 shows it)"
    return f" ({DEBUG}=1 shows the traceback)"


def _fail(text: str, code: int) -> NoReturn:
    typer.secho(f"error: {text}", fg=typer.colors.RED, err=True)
    raise typer.Exit(code)
