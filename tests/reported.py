"""A run folder made by hand with every stage's results, for the pages that show them."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np

from shapegen.config import RunConfig
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape, write_surface
from shapegen.errors import StageMissingError
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import Surface, signed_volume
from shapegen.store import write_json

EVIL = "<script>alert('x')</script>\"&"


class FakeRun:
    """What `compute` needs of a run."""

    def __init__(self, folder):
        self.folder = folder
        self.config = RunConfig()
        self.seed = 7

    @property
    def cache(self):
        return self.folder / "cache"

    def stage(self, name):
        return self.folder / name

    def require(self, name, *, needed_by):
        if not (self.folder / name / "stage.json").exists():
            raise StageMissingError(self.folder, name, needed_by)
        return self.folder / name

    @contextmanager
    def progress(self, description, total):
        yield lambda number: None


def ellipsoid(axes):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=3)
    return Surface(np.asarray(mesh.vertices) * axes, np.asarray(mesh.faces, np.int64))


def finish(run, name, seconds=1.5):
    write_json(run.stage(name) / "stage.json", {"key": "0", "seconds": seconds, "outputs": {}})


def prepared(run, *, source="source", group="g"):
    folder = run.stage("prepare")
    shapes = []
    for k in range(10):
        surface = ellipsoid([80 + 2 * k, 60, 50])
        shape = Shape(
            id=f"{source}/{EVIL.replace('/', '')}{k}" if k == 4 else f"{source}/real-{k}",
            group=f"{group}{k}",
            split="test" if k >= 7 else "validation" if k >= 5 else "train",
            volume_ml=signed_volume(surface) / 1000,
            placement=Placement(180.0),
            folder=folder,
            meta={"file": f"{source}.nii.gz", "repairs": ["2 crumbs <b>removed</b>"] if k == 0 else []},
        )
        write_surface(folder / "surfaces" / shape.file_name, surface)
        shapes.append(shape)
    unusable = ({"file": EVIL, "reason": "not a NIfTI file"},)
    Population("liver", tuple(shapes), unusable, ("synthetic population in use",)).save(folder)
    finish(run, "prepare", 12.25)
    return shapes


def sampled(run):
    rows = []
    for k in range(3):
        surface = ellipsoid([85, 60 + k, 50])
        file = f"meshes/sample-{k:04d}.ply"
        write_mesh(run.stage("sample") / file, surface)
        volume = signed_volume(surface) / 1000
        rows.append(
            {
                "id": f"sample-{k:04d}",
                "file": file,
                "empty": False,
                "volume_ml": volume,
                "components": 1,
                "closed": True,
                "oriented": True,
            }
        )
    rows.append({"id": "sample-0003", "file": None, "empty": True})
    write_json(run.stage("sample") / "samples.json", {"organ": "liver", "space": "RAS, mm", "samples": rows})
    finish(run, "sample")


def evaluated(run, shapes):
    metrics = {
        "targets": {"viou": "high", "1-nna-cd": 50.0, "mmd-cd": "low"},
        "reconstruction": [
            {"row": "code, held out", "null": False, "split": "test", "n": 3,
             "metrics": {"viou": {"mean": 0.9312, "low": 0.9212, "high": 0.9412, "min": 0.8812}}},
            {"row": "nearest training shape", "null": True, "split": "test", "n": 3,
             "metrics": {"viou": {"mean": 0.7123, "low": 0.7013, "high": 0.7233, "min": 0.6543}}},
        ],
        "generation": {
            "reference": "test", "n_reference": 3, "n_generated": 3,
            "rows": [
                {"row": "generated", "null": False, "n": 3,
                 "metrics": {"1-nna-cd": {"value": 71.23, "low": 60.12, "high": 80.34},
                             "mmd-cd": {"value": 0.3123, "low": 0.2812, "high": 0.3512}}},
                {"row": "real training shapes as samples", "null": True, "n": 3,
                 "metrics": {"1-nna-cd": {"value": 50.11, "low": 35.22, "high": 63.33},
                             "mmd-cd": {"value": 0.3001, "low": 0.2601, "high": 0.3601}}},
            ],
        },
        "novelty": {
            "unit": "cube units",
            "generated": {"n": 3, "mean": 0.2111, "low": 0.1911, "high": 0.2311, "median": 0.2011},
            "held_out": {"n": 3, "mean": 0.2444, "low": 0.2044, "high": 0.2844, "median": 0.2344},
            "ratio": {"value": 0.8638, "low": 0.7038, "high": 1.0738},
            "copying": {"value": -1.234, "low": -3.234, "high": 0.734, "p": 0.1086, "suspicious_below": -3.0},
            "near_copies": {"count": 1, "value": 0.3333, "low": 0.0615, "high": 0.7923, "quantile": 0.05,
                            "limit": 0.1777},
            "null": {"ratio": {"value": 1.0077, "low": 0.8077, "high": 1.2077},
                     "copying": {"value": 0.0333, "low": -1.933, "high": 2.033},
                     "near_copies": {"value": 0.0555, "low": 0.0, "high": 0.3335}},
            "nearest": [{"id": "sample-0001", "training": shapes[4].id, "distance": 0.0987}],
        },
        "validity": {"n": 4, "empty": 1, "volume_range_ml": [300, 5000],
                     "valid": {"count": 3, "value": 0.7512, "low": 0.3012, "high": 0.9512},
                     "flawless": {"count": 2, "value": 0.5012, "low": 0.1512, "high": 0.8512},
                     "real": {"split": "test", "n": 3,
                              "valid": {"count": 3, "value": 0.9997, "low": 0.4397, "high": 1.0},
                              "flawless": {"count": 1, "value": 0.3334, "low": 0.0614, "high": 0.7924}}},
        "volume_ml": {"real": [1.0], "generated": [1.0]},
        "failed": [{"plugin": "broken-metric", "doing": "measuring", "error": "ValueError: " + EVIL, "times": 1}],
    }  # fmt: skip
    write_json(run.stage("evaluate") / "metrics.json", metrics)
    finish(run, "evaluate")


def logged(run, stage):
    rows = [json.dumps({"step": step, "loss": 1 / (1 + step)}) for step in range(10)]
    run.stage(stage).mkdir(parents=True, exist_ok=True)
    (run.stage(stage) / "log.jsonl").write_text("\n".join(rows) + '\n{"step": 10, "lo')
    finish(run, stage, 75.0)


def reconstructed(run, shapes, *, larger=1.05):
    """Write each test shape's reconstruction: itself, larger."""
    test = [shape for shape in shapes if shape.split == "test"]
    for shape in test:
        canonical = shape.canonical()
        write_surface(
            run.stage("fit") / "reconstructions" / "own-inr" / shape.file_name,
            canonical.moved(canonical.vertices * larger),
        )
    listed = {"own-inr": {"test": [shape.id for shape in test]}}
    write_json(run.stage("fit") / "fit.json", {"reconstructions": listed, "empty": {}})


def finished_run(folder):
    """Return a run with all stages but the report."""
    run = FakeRun(folder)
    shapes = prepared(run)
    logged(run, "fit")
    logged(run, "train")
    reconstructed(run, shapes)
    sampled(run)
    evaluated(run, shapes)
    manifest = {"format": 1, "shapegen": "0.1.0", "versions": {"torch": "2.99"}, "notes": ["prepare: a note " + EVIL]}
    write_json(run.folder / "manifest.json", manifest)
    (run.folder / "config.yaml").write_text("preset: cpu\ndata: ['" + EVIL + "']\n")
    return run
