"""A curated folder made by hand, with shapes of every class and names that try to break out of pages and tables."""

from __future__ import annotations

import numpy as np

from shapegen.curation.pictures import write_pictures
from shapegen.curation.verdicts import Finding
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import Surface
from shapegen.store import write_json

EVIL = "livers/<script>alert('x')</script>\"&"
CAP = Finding("planar-cap", "cut", 3.25, 2.5, "a flat cap covers 12.4 % of the surface")
CRUMBS = Finding("crumbs", "require_edit", 4.0, 0.5, "4 crumbs beside the organ", mended=True)
FOLDED = Finding("folded", "require_edit", 0.71, 0.4, "folds <b>everywhere</b>")
STRANGE = Finding("unusual-shape", "not_sure", 0.37, 0.36, "unlike the five most similar shapes")


def shape(axes, *, cut: bool = False, subdivisions: int = 3) -> Surface:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=subdivisions)
    vertices = np.asarray(mesh.vertices) * axes
    vertices[:, 2] += 0.15 * vertices[:, 0] ** 2 / axes[0]
    if cut:
        vertices[:, 2] = vertices[:, 2].clip(None, 0.35 * axes[2])
    return Surface(vertices, np.asarray(mesh.faces, np.int64))


def row(name, verdict, severity, *findings, after=None, probability=None, group=None):
    checks = {finding.check: {finding.check: finding.measure} for finding in findings}
    return {
        "id": name,
        "group": group or name,
        "file": f"/data/{name}.nii.gz",
        "verdict": verdict,
        "after_repair": after,
        "probability": probability,
        "severity": severity,
        "findings": [finding.to_json() for finding in findings],
        "measures": {"volume": {"volume": 0.125, "volume-ml": 1480.0}, **checks},
        "repairs": [{"step": "clean", "text": "dropped 4 crumbs"}] if CRUMBS in findings else [],
        "surface": None,
        "pictures": [],
        "reason": "",
        "repeats": {},
    }


ROWS = (
    row("livers/good", "ok", 0.1, probability={"ok": 0.97, "cut": 0.01, "require_edit": 0.01, "nope": 0.01}),
    row("livers/fair", "ok", 0.4, probability={"ok": 0.62, "cut": 0.30, "require_edit": 0.08, "nope": 0.0}),
    row("livers/mended", "require_edit", 3.0, CRUMBS, after="ok"),
    row("livers/cut", "cut", 31.3, CAP, probability={"ok": 0.02, "cut": 0.95, "require_edit": 0.03, "nope": 0.0}),
    row("livers/cut-more", "cut", 38.0, CAP, FOLDED),
    row(EVIL, "require_edit", 21.8, FOLDED),
    row("livers/strange", "not_sure", 11.0, STRANGE),
)


def curated(folder, *, pictures: bool = True):
    """Write the folder and return it."""
    rows = [dict(each) for each in ROWS]
    # One drawing does for all; it is what takes the time.
    names = write_pictures(shape([90.0, 70, 60]), folder / "pictures", "0") if pictures else []
    drawn = [f"pictures/{name}" for name in names]
    for number, each in enumerate(rows):
        surface = shape([90.0 - 3 * number, 70, 60], cut=each["verdict"] == "cut")
        each["surface"] = f"surfaces/{number}.ply"
        write_mesh(folder / each["surface"], surface)
        each["pictures"] = drawn
    refused = row("=HYPERLINK(1)", "nope", 40.0, Finding("readable", "nope", 1.0, 0.0, "no NIfTI <i>file</i>"))
    rows.append({**refused, "file": "=HYPERLINK(1)", "group": None, "measures": {}, "reason": "no NIfTI <i>file</i>"})
    content = {"organ": "liver", "items": rows, "notes": ["sorted 8 files"], "thresholds": {}}
    write_json(folder / "curation.json", {"format": "shapegen-curation-1", **content})
    return folder
