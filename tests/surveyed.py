"""A small run made by hand, and a study of it, as the tests of reader studies need them."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from conftest import icosphere
from reported import FakeRun
from shapegen.data.placement import Placement
from shapegen.data.population import Population, Shape, write_surface
from shapegen.geometry.export import write_mesh
from shapegen.geometry.surface import Surface, signed_volume
from shapegen.store import read_json, write_json
from shapegen.survey.choice import Wanted
from shapegen.survey.design import Design
from shapegen.survey.new import new_study
from shapegen.survey.remeshing import Remeshing

HOW = Remeshing(faces=600, smoothing=2.0)
WANTED = Wanted(real=6, synthetic=6, near_copies=2, practice=2, seed=7)
DESIGN = Design(readers=3, repeats=4)
SECRET = "hospital-4711"
"""Stands in the ids of real shapes; no reader may ever see it."""


def lump(rng, *, rough: float = 0.0) -> Surface:
    """Return a closed surface of some 4 cm; `rough` makes it finely bumpy."""
    sphere = icosphere(4)
    axes = np.array([26.0, 21.0, 17.0]) * rng.uniform(0.9, 1.1, 3)
    vertices = sphere.vertices * axes
    vertices[:, 2] += rng.uniform(-0.2, 0.2) * vertices[:, 0] ** 2 / axes[0]
    return sphere.moved(vertices * (1 + rough * rng.standard_normal((len(vertices), 1))))


def make_run(folder: Path, *, train: int = 8, validation: int = 2, test: int = 8, samples: int = 14) -> FakeRun:
    """Write the stages `prepare`, `sample` and `evaluate`. Two of the shapes for testing are of one patient; the first
    sample is empty."""
    run = FakeRun(folder)
    rng = np.random.default_rng(3)
    shapes = []
    for split, count in (("train", train), ("validation", validation), ("test", test)):
        for k in range(count):
            surface = lump(rng, rough=0.004)
            shape = Shape(
                id=f"{SECRET}/{split}-{k}",
                group=f"{split}-patient-{max(k, 1) if split == 'test' else k}",
                split=split,
                volume_ml=signed_volume(surface) / 1000,
                placement=Placement(60.0),
                folder=run.stage("prepare"),
            )
            write_surface(shape.folder / "surfaces" / shape.file_name, surface)
            shapes.append(shape)
    Population("liver", tuple(shapes)).save(run.stage("prepare"))
    rows = [{"id": "sample-0000", "file": None, "empty": True}]
    for k in range(1, samples):
        file = f"meshes/sample-{k:04d}.ply"
        write_mesh(run.stage("sample") / file, lump(rng))
        rows.append({"id": f"sample-{k:04d}", "file": file, "empty": False})
    write_json(run.stage("sample") / "samples.json", {"organ": "liver", "samples": rows})
    nearest = [{"id": row["id"], "training": shapes[0].id, "distance": 0.1 + 0.01 * k} for k, row in enumerate(rows)]
    write_json(run.stage("evaluate") / "metrics.json", {"novelty": {"nearest": nearest}})
    for stage in ("prepare", "sample", "evaluate"):
        write_json(run.stage(stage) / "stage.json", {})
    return run


def make_study(folder: Path, *, run: FakeRun | None = None, wanted=WANTED, design=DESIGN):
    """Make a run and a study of it; return the study."""
    return new_study(run or make_run(folder / "run"), folder / "study", wanted, design, HOW, workers=1).study


def kinds_of(study) -> dict[str, str]:
    """Return the kind of every showing, by its id."""
    truth = read_json(study.folder / "truth.json")["items"]
    return {showing.id: truth[showing.mesh]["kind"] for reader in study.readers for showing in reader.showings}


def said(item: str, number: int = 0, **more) -> dict:
    """Return an answer as the page sends it."""
    return {
        "answer": f"{number:032x}",
        "item": item,
        "choice": "real",
        "confidence": 3,
        "reasons": [],
        "comment": "",
        "seconds": 1.5,
        **more,
    }


@contextmanager
def served(folder: Path, *, port: int = 0):
    """Serve a study in a process of its own; yields (process, links by reader)."""
    command = [sys.executable, "-m", "shapegen", "survey", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        links = {}
        for line in iter(process.stdout.readline, ""):
            name, link = line.split()
            links[name] = link
            if len(links) == len(read_json(folder / "study.json")["readers"]):
                break
        assert links, process.stderr.read()
        yield process, links
    finally:
        if process.poll() is None:
            process.terminate()  # a job in the background of a shell would not hear Ctrl-C
        process.communicate(timeout=20)


def free_port() -> int:
    """Return a port that is free, to be used at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def ask(link: str, path: str = "", body=None, headers=None, method=None):
    """Return status, content and headers of one request over a connection of its own."""
    address = urlsplit(link)
    connection = HTTPConnection(address.netloc, timeout=30)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    kind = {} if body is None else {"Content-Type": "application/json"}
    connection.request(
        method or ("GET" if body is None else "POST"), address.path + path, content, {**kind, **(headers or {})}
    )
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def answering(link: str, answers: list, tries: int = 60) -> list[str]:
    """Send answers as the page does, again where the server is away or says to wait; return what it says it saved."""
    for _ in range(tries):
        try:
            state = json.loads(ask(link, "state.json")[1])
            status, content, _ = ask(link, "answers", {"answers": answers}, {"X-CSRF-Token": state["csrf"]})
            if status == 200:
                return json.loads(content)["saved"]
        except (OSError, HTTPException, ValueError):
            pass
        time.sleep(0.2)
    raise AssertionError("the server never took the answers")


def screenshots(name: str, fallback: Path) -> Path:
    """Return where a test keeps its pictures: below `SHAPEGEN_SCREENSHOTS`, which a build keeps, or the fallback."""
    kept = os.environ.get("SHAPEGEN_SCREENSHOTS")
    folder = Path(kept) / re.sub(r"\W+", "-", name) if kept else fallback
    folder.mkdir(parents=True, exist_ok=True)
    return folder
