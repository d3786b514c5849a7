"""The stage `prepare`: from files to a population, with bad files among them, killed and resumed."""

import json

import nibabel
import numpy as np
import pytest

from shapegen.curation import examine
from shapegen.data.population import Population
from shapegen.discovery import discover
from shapegen.errors import ConfigError, NoUsableDataError
from shapegen.geometry.surface import is_closed, is_oriented, signed_volume
from shapegen.run import Run
from shapegen.settings import load_config
from shapegen.stages import prepare

SPACING = 4.0


def write_liver(path, seed, *, value=1, mirrored=False):
    """A lopsided ellipsoid of 0.8 to 1.6 L on a coarse grid."""
    rng = np.random.default_rng(seed)
    axes = np.array([85, 60, 60]) * rng.uniform(0.9, 1.1, 3)
    shape = (60, 48, 44)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis((index - np.array(shape) / 2) * SPACING / axes, -1, 0)
    inside = x**2 + (y / (1 - 0.4 * x) - 0.4 * x * z) ** 2 + (z - 0.4 * x) ** 2 < 1
    labels = np.where(inside, value, 0).astype(np.uint8)
    affine = np.diag([SPACING, SPACING, SPACING, 1])
    affine[:3, 3] = rng.uniform(-100, 100, 3)
    nibabel.save(nibabel.Nifti1Image(labels[::-1] if mirrored else labels, affine), path)


@pytest.fixture(scope="module")
def livers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "livers"
    folder.mkdir()
    for seed in range(7):
        write_liver(folder / f"p{seed}.nii.gz", seed)
    return folder


@pytest.fixture
def make_run(tmp_path):
    runs = []

    def make(data, name="run", **sets):
        catalog = discover()
        options = {
            "prepare.samples": 2000,
            "prepare.workers": 1,
            "prepare.align": False,
            "curate.use": False,
            "organ.voxel_mm": 4,
            "data": [str(data)],
            **sets,
        }
        pairs = [f"{key}={json.dumps(value)}" for key, value in options.items()]
        runs.append(Run.create(tmp_path / name, load_config(catalog, sets=pairs), catalog=catalog))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def compute(run):
    folder = run.stage("prepare")
    folder.mkdir(exist_ok=True)
    prepare.compute(run, folder)
    return Population.load(folder)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_become_aligned_sampled_shapes(livers, make_run):
    population = compute(make_run(livers, **{"prepare.align": True}))
    assert [shape.id for shape in population] == [f"livers/p{k}" for k in range(7)]
    assert {shape.split for shape in population} == {"train", "validation", "test"}
    for shape in population:
        surface = shape.surface()
        voxels = np.count_nonzero(nibabel.load(livers / f"{shape.group}.nii.gz").dataobj) * SPACING**3
        assert is_closed(surface)
        assert is_oriented(surface)
        assert signed_volume(surface) == pytest.approx(voxels, rel=0.01)
        assert shape.volume_ml == pytest.approx(voxels / 1000, rel=0.01)
        points, distances = shape.samples()
        assert points.shape == (2000, 3)
        assert np.abs(points).max() <= 0.5
        assert 0.2 < (distances < 0).mean() < 0.8
    training = [np.abs(shape.canonical().vertices).max() for shape in population.of("train")]
    assert max(training) == pytest.approx(0.475, abs=1e-5)
    assert any("7 shapes of 7 patients" in note for note in population.notes)


def test_bad_files_are_listed_and_the_others_go_on(livers, make_run, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in livers.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "garbage.nii.gz").write_bytes(b"no")
    (folder / "cut.nii.gz").write_bytes((livers / "p0.nii.gz").read_bytes()[:700])
    (folder / "dead.stl").write_bytes(b"no mesh")
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9), np.uint8), np.eye(4)), folder / "flat.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.uint8), np.diag([1, 2, 2, 1])), folder / "small.nii.gz")
    population = compute(make_run(folder, **{"prepare.workers": 2}))
    assert len(population) == 7
    reasons = {row["file"].rsplit("/")[-1]: row["reason"] for row in population.unusable}
    assert set(reasons) == {"garbage.nii.gz", "cut.nii.gz", "dead.stl", "flat.nii.gz", "small.nii.gz"}
    assert "truncated" in reasons["cut.nii.gz"]
    assert "2.916 mL" in reasons["small.nii.gz"]
    assert sum(note.startswith("left out 1: ") for note in population.notes) == 5


def test_too_few_usable_files_is_an_error_that_says_why(make_run, tmp_path):
    folder = tmp_path / "few"
    folder.mkdir()
    for seed in range(3):
        write_liver(folder / f"p{seed}.nii.gz", seed)
    (folder / "garbage.nii.gz").write_bytes(b"no")
    with pytest.raises(
        NoUsableDataError, match=r"3 usable shapes, at least 4 are needed \(1 of 4 files are left out"
    ) as caught:
        compute(make_run(folder))
    assert "garbage.nii.gz: not a readable NIfTI" in str(caught.value)


def test_result_is_the_same_with_any_number_of_workers_and_after_an_interruption(livers, make_run, monkeypatch):
    whole = make_run(livers, "whole")
    compute(whole)
    interrupted = make_run(livers, "interrupted", **{"prepare.workers": 2})
    real, calls = prepare.align, []

    def stop(*args, **kwargs):
        calls.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "align", stop)
    with pytest.raises(KeyboardInterrupt):
        compute(interrupted)
    monkeypatch.setattr(prepare, "align", real)
    (next(iter((interrupted.cache / "items").glob("*.json")))).unlink()  # as if killed before it was written
    monkeypatch.setattr(examine, "_one", count_calls(examine._one, calls))
    interrupted_sampling = make_samples_fail(monkeypatch, after=3)
    with pytest.raises(KeyboardInterrupt):
        run_inline(monkeypatch, interrupted)
    interrupted_sampling()
    run_inline(monkeypatch, interrupted)
    assert calls.count("read") == 1  # all others came from the cache
    expected, got = content(whole.stage("prepare")), content(interrupted.stage("prepare"))
    assert got.keys() == expected.keys()
    differing = [name for name in expected if got[name] != expected[name]]
    assert differing in ([], ["population.json"])


def count_calls(function, calls):
    def counted(task):
        calls.append("read")
        return function(task)

    return counted


def run_inline(monkeypatch, run):
    monkeypatch.setattr(prepare, "worker_count", lambda wanted, items: 1)
    return compute(run)


def make_samples_fail(monkeypatch, *, after):
    real, left = prepare._sample_one, [after]

    def fail(task):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(prepare, "_sample_one", fail)
    return lambda: monkeypatch.setattr(prepare, "_sample_one", real)


def test_samples_of_another_placement_are_made_again(livers, make_run):
    run = make_run(livers)
    population = compute(run)
    target = run.stage("prepare") / "samples" / population[0].file_name
    before = target.read_bytes()
    compute(run)
    assert target.read_bytes() == before
    target.write_bytes((target.parent / population[1].file_name).read_bytes())
    compute(run)
    assert target.read_bytes() == before


def test_a_limit_takes_files_evenly(livers, make_run):
    run = make_run(livers, **{"prepare.limit": 4})
    assert [shape.id for shape in compute(run)] == [f"livers/p{seed}" for seed in (0, 1, 3, 5)]
    assert [shape.id for shape in compute(make_run(livers, "all", **{"prepare.limit": 7}))][-1] == "livers/p6"


def test_folds_and_files_decide_the_split(livers, make_run, tmp_path):
    shared = {"cache": str(tmp_path / "cache")}
    tested = []
    for fold in range(3):
        population = compute(make_run(livers, f"f{fold}", **shared, **{"split.folds": 3, "split.fold": fold}))
        tested += [shape.id for shape in population.of("test")]
    assert sorted(tested) == [f"livers/p{k}" for k in range(7)]
    listing = tmp_path / "split.json"
    listing.write_text(json.dumps({f"p{k}": "test" if k < 3 else "train" for k in range(7)}))
    population = compute(make_run(livers, "file", **shared, **{"split.file": str(listing)}))
    assert [s.id for s in population.of("test")] == ["livers/p0", "livers/p1", "livers/p2"]
    listing.write_text(json.dumps({f"p{k}": "test" for k in range(7)}))
    with pytest.raises(NoUsableDataError, match="for training"):
        compute(make_run(livers, "none", **shared, **{"split.file": str(listing)}))
    listing.write_text("{}")
    with pytest.raises(ConfigError, match="neither id nor group"):
        compute(make_run(livers, "empty", **shared, **{"split.file": str(listing)}))


def test_a_mirrored_file_is_put_right_and_listed(make_run, tmp_path):
    folder = tmp_path / "mirrored"
    folder.mkdir()
    for seed in range(8):
        write_liver(folder / f"p{seed}.nii.gz", seed, mirrored=seed == 3)
    population = compute(make_run(folder, **{"prepare.align": True, "split.validation": 0, "split.test": 0}))
    assert [shape.id for shape in population if shape.placement.mirrored] == ["mirrored/p3"]
    assert population[3].meta["alignment"]["kind"] == "mirrored"
    assert any(note.startswith("mirrored/p3: mirrored file") for note in population.notes)
    assert is_oriented(population[3].canonical())
    assert signed_volume(population[3].canonical()) > 0


def test_inputs_are_recorded_with_their_hashes(livers, make_run):
    run = make_run(livers)
    compute(run)
    recorded = json.loads((run.folder / "manifest.json").read_text())["inputs"]
    assert recorded.keys() == {f"livers/p{k}" for k in range(7)}
    assert all(len(entry["sha256"]) == 64 for entry in recorded.values())
