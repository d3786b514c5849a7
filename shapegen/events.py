"""Run events: tells every listening plugin what happens, and does not let one of them stop the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from shapegen import hookspecs
from shapegen.plugin import PROJECT


class Events:
    """Broadcast the events of one run.

    Args:
        listeners: (who, as users read it; the plugin manager that holds the one listener).
    """

    def __init__(self, listeners: Iterable[tuple[str, pluggy.PluginManager]] = ()) -> None:
        self._listeners = list(listeners)

    def add(self, label: str, listener: object) -> None:
        """Add an object whose methods are marked with `shapegen.hookimpl`.

        Raises:
            pluggy.PluginValidationError: it implements a hook that does not exist.
        """
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(listener, name=label)
        manager.check_pending()
        self._listeners.append((label, manager))

    def broadcast(self, event: str, **arguments: Any) -> list[str]:
        """Call `event` on every listener.

        Returns:
            one sentence for each listener that raised; it hears nothing more of this run, so it is named only once.
        """
        problems: list[str] = []
        for listener in list(self._listeners):
            label, manager = listener
            try:
                getattr(manager.hook, event)(**arguments)
            except Exception as error:
                self._listeners.remove(listener)
                text = " ".join(str(error).split())
                problems.append(
                    f"plugin {label} raised {type(error).__name__}: {text} in {event}; "
                    "it is left out for the rest of this run, which goes on"
                )
        return problems
