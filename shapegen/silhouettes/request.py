"""What users write of a picture: `liver.png,view=anterior,mm_per_pixel=0.8` or `slice.png,slice=axial,at=-20`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from shapegen.errors import ConfigError
from shapegen.report.render import VIEWS, View

PLANES: dict[str, View] = {"axial": "inferior", "coronal": "anterior", "sagittal": "left"}
"""How slices are looked at: axial ones from the feet and coronal ones from the front, the patient's right on the
left of the picture; sagittal ones from the left, the front on the left of the picture."""
_KEYS = ("view", "slice", "at", "mm_per_pixel")
_FORM = "expected FILE[,view=anterior][,mm_per_pixel=0.8] or FILE,slice=axial[,at=-20][,mm_per_pixel=0.8]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One picture.

    Args:
        path: of it.
        view: from where it is seen; None: to be found out.
        plane: "axial", "coronal" or "sagittal" for a slice; None: a silhouette.
        at_mm: where the slice lies, mm from the organ's centre to the patient's head, front or right; None: unknown.
        mm_per_pixel: of the file; None: unknown.
    """

    path: Path
    view: View | None = None
    plane: str | None = None
    at_mm: float | None = None
    mm_per_pixel: float | None = None


def parse_request(text: str) -> Request:
    """Read a request.

    Raises:
        ConfigError: a key, a view, a plane or a number that is none; the text says what was expected.
    """
    name, *rest = [part.strip() for part in text.split(",")]
    given: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS:
            raise ConfigError(f"image: {_FORM}, got {part!r}{_meant(key, _KEYS)}")
        given[key] = value.strip()
    if not name:
        raise ConfigError(f"image: {_FORM}, got no file")
    if "view" in given and "slice" in given:
        raise ConfigError("image: a silhouette has a view and a slice of a mask has a plane: give one of the two")
    if "at" in given and "slice" not in given:
        raise ConfigError("image: at= is where a slice lies: give slice=axial, coronal or sagittal with it")
    plane = given.get("slice")
    if plane is not None and plane not in PLANES:
        raise ConfigError(f"image: slice={plane}: expected one of {', '.join(PLANES)}{_meant(plane, PLANES)}")
    view = given.get("view")
    if view is not None and view not in VIEWS:
        raise ConfigError(f"image: view={view}: expected one of {', '.join(VIEWS)}{_meant(view, VIEWS)}")
    pixel = _number(given, "mm_per_pixel")
    if pixel is not None and not 0.01 <= pixel <= 20:
        raise ConfigError(f"image: mm_per_pixel={pixel:g}: expected 0.01 to 20 mm")
    return Request(
        path=Path(name),
        view=next(each for each in VIEWS if each == view) if view is not None else None,
        plane=plane,
        at_mm=_number(given, "at"),
        mm_per_pixel=pixel,
    )


def _number(given: dict[str, str], key: str) -> float | None:
    text = given.get(key)
    if text is None:
        return None
    try:
        value = float(text.removesuffix("mm"))
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e6:
        raise ConfigError(f"image: {key}={text}: expected a number, in mm")
    return value


def _meant(found: str, known: object) -> str:
    close = difflib.get_close_matches(found, list(known), n=1)  # type: ignore[call-overload]
    return f"; did you mean {close[0]}?" if close else ""
