"""Every reader of files from outside, with valid files to begin from and the ways to damage them."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz_mutations import (
    Mutation,
    bytes_changed,
    compressed,
    json_values,
    nifti_header,
    noise,
    one_of,
    safetensors_header,
)


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader that is fuzzed.

    Args:
        file: the name that its input has in a folder of its own.
        seeds: makes valid inputs.
        mutate: damages one.
        read: reads the file at a path; may raise a ShapegenError and nothing else.
        prepare: lays further files beside the input.
        share: of the inputs, relative to the other readers; below 1 where an input takes long.
    """

    file: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutation
    read: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda folder: None
    share: float = 1.0


ANY = one_of((bytes_changed, bytes_changed, noise))
TEXT = one_of((json_values, json_values, json_values, bytes_changed, noise))
TENSORS = one_of((safetensors_header, safetensors_header, bytes_changed, noise))


def _nifti() -> list[bytes]:
    import nibabel

    labels = np.zeros((9, 8, 7), np.uint8)
    labels[2:6, 2:6, 2:5] = 1
    labels[6, 3:5, 3] = 2
    kinds = (np.uint8, np.int16, np.float32)
    return [nibabel.Nifti1Image(labels.astype(kind), np.diag([2.0, 2, 3, 1])).to_bytes() for kind in kinds]


@cache
def _packed() -> list[bytes]:
    return [gzip.compress(data, mtime=0) for data in _nifti()]


def _read_labels(path: Path) -> None:
    from shapegen.data.nifti import read_header, read_labels

    read_header(path)
    read_labels(path)


def _mesh(suffix: str) -> Callable[[], list[bytes]]:
    @cache
    def make() -> list[bytes]:
        import tempfile

        import trimesh

        from shapegen.geometry.export import write_mesh
        from shapegen.geometry.surface import Surface

        box = trimesh.creation.icosphere(subdivisions=1, radius=50)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            write_mesh(path, Surface(np.asarray(box.vertices), np.asarray(box.faces)))
            files = [path.read_bytes()]
        if suffix in (".stl", ".ply"):
            files.append(trimesh.exchange.export.export_mesh(box, None, {".stl": "stl_ascii"}.get(suffix, "ply")))
        return [file.encode() if isinstance(file, str) else file for file in files]

    return make


def _read_surface(path: Path) -> None:
    from shapegen.data.meshes import read_surface

    read_surface(path)


def _observe(path: Path) -> None:
    from shapegen.completion.observation import read_observation

    read_observation(path)


def _points() -> list[bytes]:
    rows = np.random.default_rng(0).normal(0, 40, (60, 3))
    return ["\n".join(["x,y,z", *(f"{x:.3f},{y:.3f},{z:.3f}" for x, y, z in rows)]).encode()]


@cache
def _catalog() -> Any:
    from shapegen.discovery import discover

    return discover()


def _configuration() -> list[bytes]:
    from shapegen.config import RunConfig
    from shapegen.presets import PRESETS

    return [json.dumps(RunConfig().to_json()).encode(), *(json.dumps(each).encode() for each in PRESETS.values())]


def _read_configuration(path: Path) -> None:
    from shapegen.settings import load_config

    load_config(_catalog(), file=path)


def _read_set(path: Path) -> None:
    from shapegen.settings import load_config

    load_config(_catalog(), sets=[path.read_bytes().decode("utf-8", "surrogateescape")])


def _sets() -> list[bytes]:
    return [b"denoiser.depth=6", b"metrics='[mmd, {name: f-score, thresholds: [0.01]}]'", b"split.folds=5"]


def _toml() -> list[bytes]:
    return [b'seed = 3\n[denoiser]\nname = "mlp"\ndepth = 2\n[split]\nfolds = 3\n[sample]\ncount = 4\nformat = "stl"\n']


def _sources() -> list[bytes]:
    one = {"path": "data", "name": "a", "labels": [1], "fixes": {"x.nii.gz": {"spacing": [1, 1, 2], "reverse": [0]}}}
    return [json.dumps({"sources": [one, {"path": "more.stl", "frame": "lps", "groups": {"p": ["a"]}}]}).encode()]


def _lay_sources(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "more.stl").write_bytes(b"solid")
    (folder / "data" / "x.nii.gz").write_bytes(_packed()[0])


def _read_sources(path: Path) -> None:
    organ = _catalog().find("organ", "liver").plugin
    organ.build(organ.config()).scan((str(path),))


def _tensors() -> list[bytes]:
    from safetensors.numpy import save

    from shapegen.seal import sealed

    arrays = {"vertices": np.zeros((4, 3), np.float32), "faces": np.zeros((2, 3), np.int32), "step": np.array(3)}
    return [sealed(save(arrays), {"key": "k"}), save(arrays)]


def _read_tensors(path: Path) -> None:
    from shapegen.store import is_kept, kept_tensors, read_arrays

    is_kept(path, "k")
    kept_tensors(path)
    read_arrays(path)


def _checkpoint() -> list[bytes]:
    import tempfile

    import torch

    from shapegen.checkpoint import Checkpoint

    weight, optimiser = _loop()
    weight.sum().backward()
    optimiser.step()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        Checkpoint(Path(folder), {"weight": weight}, optimiser).keep(3, now=True)
        return [(Path(folder) / "checkpoint.safetensors").read_bytes()]


def _loop() -> Any:
    import torch

    weight = torch.zeros(5, requires_grad=True)
    return weight, torch.optim.AdamW([weight])


def _resume(path: Path) -> None:
    from shapegen.checkpoint import Checkpoint

    weight, optimiser = _loop()
    step = Checkpoint(path.parent, {"weight": weight}, optimiser).resume()
    assert step >= 0
    weight.sum().backward()
    optimiser.step()


def _unsealed() -> list[bytes]:
    """Checkpoints without a hash, as an older version or a stranger writes them: their content is read."""
    data = _checkpoint()[0]
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    del header["__metadata__"]
    text = json.dumps(header).encode()
    return [len(text).to_bytes(8, "little") + text + data[8 + length :]]


def _manifest() -> list[bytes]:
    return [json.dumps({"format": 1, "shapegen": "0.1.0", "plugins": {}, "notes": ["fit: x"], "seeds": {}}).encode()]


@cache
def _resolved() -> str:
    from shapegen.configfile import to_yaml
    from shapegen.settings import load_config

    return to_yaml(load_config(_catalog(), flags={"preset": "micro"}))


def _lay_run(folder: Path) -> None:
    (folder / "config.yaml").write_text(_resolved())


def _lay_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(_manifest()[0])


def _stages() -> list[bytes]:
    basis = {"shapegen": "0.1.0", "seed": 0, "config": {"fit": {"refine_steps": 1}}, "plugins": {}, "upstream": {}}
    return [json.dumps({"key": "k", "basis": {**basis, "inputs": {}}, "outputs": {"a": "b"}, "seconds": 1.0}).encode()]


def _lay_stage(folder: Path) -> None:
    (folder.parent / "config.yaml").write_text(_resolved())
    _lay_manifest(folder.parent)


def _open_run(path: Path) -> None:
    from shapegen.run import Run

    folder = path.parent
    run = Run.open(folder, catalog=_catalog(), lock=False)
    run.note("x")
    run.forget_notes("fit")
    run.record("plugins", {"a": {}})


def _look_upstream(path: Path) -> None:
    from shapegen.basis import result_of
    from shapegen.pipeline import _why_not, check_upstream
    from shapegen.run import Run

    run = Run.open(path.parent.parent, catalog=_catalog(), lock=False)
    result_of(path.parent)
    _why_not(path.parent, {"key": "k"})
    check_upstream(run, "fit")


def _population() -> list[bytes]:
    shape = {"id": "a/b", "group": "b", "split": "train", "volume_ml": 1500.0, "meta": {}}
    placement = {"scale": 200.0, "centre": [0, 0, 0], "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    shapes = [{**shape, "placement": placement}]
    return [json.dumps({"organ": "liver", "unusable": [], "notes": [], "shapes": shapes}).encode()]


def _read_population(path: Path) -> None:
    from shapegen.data.population import Population

    for shape in Population.load(path.parent):
        outside = (path.parent / "surfaces" / shape.file_name).resolve()
        assert outside.is_relative_to(path.parent.resolve()), f"{shape.id!r} leads to {outside}"


def _curation() -> list[bytes]:
    row = {
        "id": "a/b", "group": "b", "file": "b.stl", "surface": "surfaces/b.ply", "picture": "pictures/b.png",
        "verdict": "ok", "after_repair": None, "findings": [], "reason": "", "measures": {},
        "repairs": [], "repeats": {},
    }  # fmt: skip
    return [json.dumps({"format": _curation_format(), "organ": "liver", "items": [row, {**row, "id": "c"}]}).encode()]


def _curation_format() -> Any:
    from shapegen.curation.folder import FORMAT

    return FORMAT


def _lay_curation(folder: Path) -> None:
    (folder / "surfaces").mkdir()
    (folder / "surfaces" / "b.ply").write_bytes(b"ply")


def _read_curated(path: Path) -> None:
    from shapegen.curation.folder import curated_items

    for item in curated_items(path.parent, "liver", {})[0]:
        assert item.path.resolve().is_relative_to(path.parent.resolve()), f"{item.path} lies outside"


def _decisions() -> list[bytes]:
    from shapegen.curation.decisions import FORMAT

    row = {"verdict": "ok", "automatic": "nope", "note": "", "at": "2026-01-01T00:00:00+00:00"}
    return [json.dumps({"format": FORMAT, "decisions": {"a/b": row}}).encode()]


def _read_decisions(path: Path) -> None:
    from shapegen.curation.decisions import read_decisions

    read_decisions(path.parent)


def _pictures() -> list[bytes]:
    from PIL import Image

    mask = np.zeros((40, 50), np.uint8)
    mask[6:34, 8:40] = 255
    files = []
    for kind in ("PNG", "GIF", "BMP", "TIFF", "JPEG"):
        stream = io.BytesIO()
        Image.fromarray(mask).save(stream, kind)
        files.append(stream.getvalue())
    return files


def _read_picture(path: Path) -> None:
    from shapegen.silhouettes.picture import read_picture

    read_picture(path)


MEMBER = "s0001/segmentations/liver.nii.gz"


def _zip(members: Mapping[str, bytes], *, mode: int = 0, claim: int | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return stream.getvalue()


def _archives() -> list[bytes]:
    return [_zip({MEMBER: b"mask", "meta.csv": b"a;b\n", "s0002/segmentations/liver.nii.gz": b"other"})]


def strange_archive(data: bytes, random: Random) -> bytes:
    """Make a zip with names that lead elsewhere, links, doubled names or far too much in it."""
    name = random.choice(
        (f"../{MEMBER}", f"/{MEMBER}", f"a/../../{MEMBER}", f"C:\\{MEMBER}", f"..\\{MEMBER}", f"x/{MEMBER}",
         f"./{MEMBER}", MEMBER + "/", MEMBER.upper(), "s0001/segmentations/../../../liver.nii.gz", f"{MEMBER}\0",
         "meta.csv", "é" * 200)
    )  # fmt: skip
    mode = random.choice((0, 0o100644, 0o120777, 0o020666, 0o040755))
    content = bytes(random.choice((0, 4, 100_000, 30_000_000 if random.random() < 0.02 else 10)))
    made = _zip({name: content, MEMBER: b"mask"} if random.random() < 0.5 else {MEMBER: content}, mode=mode)
    return made if random.random() < 0.7 else bytes_changed(made, random)


def _extract(path: Path) -> None:
    from shapegen.fetch.catalogue import Archive, Dataset, Licence
    from shapegen.fetch.extract import extract

    dataset = Dataset(
        summary="s", page="p", citation="c", structures="s", licence=Licence(name="l", url="u"),
        archive=Archive(url="https://x/a.zip", name="a.zip", bytes=1, hash="md5:0"),
        member=r"s\d+/segmentations/{file}", also=("meta\\.csv",), largest_mb=20.0, total_gb=0.1,
        preset="totalsegmentator",
    )  # fmt: skip
    out = path.parent / "out" / "inner"
    out.mkdir(parents=True, exist_ok=True)
    try:
        extract(path, dataset, ["liver.nii.gz"], out, room=lambda size: None)
    finally:
        others = sorted(each.name for each in (*path.parent.iterdir(), *(path.parent / "out").iterdir()))
        assert others == sorted(("out", "inner", path.name)), f"written outside the folder: {others}"
        links = [each for each in out.rglob("*") if each.is_symlink()]
        assert not links, f"a link was made: {links}"


def _read_log(path: Path) -> None:
    from shapegen.logs import LogFile, read_log

    read_log(path)
    LogFile(path).append(3, {"loss": 1.0})


def _log() -> list[bytes]:
    return [b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "held": 1.0}\n']


def _split() -> list[bytes]:
    return [json.dumps({"a": "train", "b": "test"}).encode()]


def _read_split(path: Path) -> None:
    from shapegen.data.split import from_file

    from_file(path, {"x/a": "a", "x/b": "b"})


MESH_SUFFIXES = (".stl", ".obj", ".ply", ".off", ".glb")
READERS: Mapping[str, Reader] = {
    "nifti": Reader("a.nii", _nifti, one_of((nifti_header, nifti_header, ANY)), _read_labels),
    "nifti-gz": Reader("a.nii.gz", _packed, one_of((compressed(nifti_header), ANY)), _read_labels),
    **{suffix[1:]: Reader(f"a{suffix}", _mesh(suffix), ANY, _read_surface) for suffix in MESH_SUFFIXES},
    **{suffix[1:]: Reader(f"a{suffix}", _mesh(suffix), ANY, _read_surface, share=0.1) for suffix in (".vtk", ".vtp")},
    "points": Reader("a.xyz", _points, ANY, _observe),
    "open-mesh": Reader("a.ply", _mesh(".ply"), ANY, _observe),
    "config-yaml": Reader("a.yaml", _configuration, TEXT, _read_configuration, share=0.3),
    "config-toml": Reader("a.toml", _toml, ANY, _read_configuration),
    "set": Reader("a.txt", _sets, ANY, _read_set),
    "sources": Reader("a.yaml", _sources, TEXT, _read_sources, _lay_sources, share=0.2),
    "safetensors": Reader("a.safetensors", _tensors, TENSORS, _read_tensors),
    "checkpoint": Reader("checkpoint.safetensors", _checkpoint, TENSORS, _resume),
    "old-checkpoint": Reader("checkpoint.safetensors", _unsealed, TENSORS, _resume),
    "manifest": Reader("manifest.json", _manifest, TEXT, _open_run, _lay_run, share=0.5),
    "run-config": Reader(
        "config.yaml", lambda: _configuration()[:1], TEXT, lambda path: _open_run(path), _lay_manifest, 0.2
    ),
    "stage": Reader("prepare/stage.json", _stages, TEXT, _look_upstream, _lay_stage, share=0.3),
    "population": Reader("population.json", _population, TEXT, _read_population),
    "curation": Reader("curation.json", _curation, TEXT, _read_curated, _lay_curation),
    "decisions": Reader("decisions.json", _decisions, TEXT, _read_decisions),
    "split": Reader("split.json", _split, TEXT, _read_split),
    "log": Reader("log.jsonl", _log, ANY, _read_log),
    "picture": Reader("a.png", _pictures, ANY, _read_picture),
    "zip": Reader("a.zip", _archives, one_of((strange_archive, bytes_changed)), _extract),
}
"""By name."""
