"""The checks as a pytest decorator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shapegen.testing.check import Case, NotCheckedError, Subject
from shapegen.testing.kit import cases, subject


def parametrize(plugin: str | Subject | Sequence[str | Subject], *, data: Sequence[str] = (), **options: Any) -> Any:
    """Run a test function once for each check of a plugin; its argument `check` is a function without arguments.

    Args:
        plugin: `kind/name` of an installed plugin, such as "denoiser/mixer", or several.
        data: of an organ, the `PATH[:PRESET]` strings to scan.
        **options: of the plugin; small values make the checks quick.

    Raises:
        ConfigError, PluginNotFoundError, PluginCollisionError: no such plugin is installed.
    """
    import pytest

    from shapegen.discovery import discover

    catalog = discover()
    wanted = [plugin] if isinstance(plugin, str | Subject) else list(plugin)
    subjects = [
        each if isinstance(each, Subject) else subject(each, options, data=data, catalog=catalog) for each in wanted
    ]
    found = [case for each in subjects for case in cases(each)]
    return pytest.mark.parametrize("check", [pytest.param(_test(case), id=str(case)) for case in found])


def _test(case: Case) -> Callable[[], None]:
    def check() -> None:
        import pytest

        try:
            case()
        except NotCheckedError as reason:
            pytest.skip(str(reason))

    return check
