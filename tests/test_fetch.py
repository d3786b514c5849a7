"""Public data: downloads that are interrupted, damaged and changed, zips that are not what they seem, the command."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import socket
import stat
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import shapegen_organs.liver
import shapegen_organs.tables
from shapegen.cli import app
from shapegen.discovery import discover
from shapegen.errors import ConfigError, CorruptFileError, DownloadError
from shapegen.fetch import download, resume
from shapegen.fetch.catalogue import Archive, Dataset, datasets_of, organ_files, read_downloads
from shapegen.fetch.download import get_archive
from shapegen.fetch.extract import extract
from shapegen.fetch.meter import metered
from shapegen.lock import Lock
from web import Site, served

SUBJECTS = ("s0000", "s0011", "s1429")
CHUNK = 1000


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Let nothing out of this machine, and let no test wait for a second try."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    connect = socket.socket.connect

    def only_here(self, address):
        assert address[0] == "127.0.0.1", f"a test asked for {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    monkeypatch.setattr(resume, "PAUSE_S", 0.001)
    monkeypatch.setattr(resume, "CHUNK", CHUNK)
    monkeypatch.setattr(download, "SPARE_BYTES", 0)
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)


def mask(seed: int) -> bytes:
    """Return a label map of one ellipsoid of a liver's volume, as a .nii.gz file."""
    axes = np.array([9, 7, 6]) + np.random.default_rng(seed).uniform(0, 2, 3)
    grid = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1)
    inside = ((grid / axes) ** 2).sum(-1) < 1
    image = nib.Nifti1Image(inside.astype(np.uint8), np.diag([9.0, 9.0, 9.0, 1.0]))
    return gzip.compress(image.to_bytes(), mtime=0)


def zip_of(files: dict[str, bytes], *, links: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.filename = name  # as written: ZipInfo would cut at a null byte
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return out.getvalue()


@pytest.fixture(scope="module")
def content() -> bytes:
    """A zip as TotalSegmentator's is."""
    files = {"meta.csv": b"image_id;age\n"}
    for seed, subject in enumerate(SUBJECTS):
        files[f"{subject}/ct.nii.gz"] = np.random.default_rng(seed).bytes(20_000)
        files[f"{subject}/segmentations/liver.nii.gz"] = mask(seed)
        files[f"{subject}/segmentations/spleen.nii.gz"] = mask(seed + 10)
        files[f"{subject}/segmentations/kidney_left.nii.gz"] = mask(seed + 20)
    return zip_of(files)


@pytest.fixture
def site(content):
    with served(Site(content)) as site:
        yield site


def archive_of(site: Site, *, hashed: bool = True) -> Archive:
    digest = f"md5:{hashlib.md5(site.content).hexdigest()}" if hashed else None
    return Archive(name="data.zip", url=site.url, bytes=len(site.content), hash=digest)


def dataset_of(archive: Archive, **changes) -> Dataset:
    given = {
        "summary": "scans",
        "page": "https://example.org/record",
        "archive": archive,
        "licence": {"name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"},
        "citation": "Somebody 2023",
        "structures": "all",
        "member": r"s\d{4,}/segmentations/{file}",
        "also": [r"meta\.csv"],
        "largest_mb": 1,
        "total_gb": 0.1,
        "preset": "totalsegmentator",
    }
    return Dataset.model_validate({**given, **changes})


def left_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# the download


def test_whole_download(site, tmp_path):
    path = get_archive(archive_of(site), tmp_path / "new")
    assert path.read_bytes() == site.content
    assert left_in(tmp_path) == ["new/data.zip"]
    assert site.asked == [""]
    assert get_archive(archive_of(site), tmp_path / "new") == path
    assert site.asked == [""], "what is there and right is not asked for again"


def test_interruptions_ask_only_for_what_is_missing(site, tmp_path):
    site.cuts = [10_000, 5_000]
    get_archive(archive_of(site), tmp_path)
    assert (tmp_path / "data.zip").read_bytes() == site.content
    assert site.asked == ["", "bytes=10000-", "bytes=15000-"]
    assert sum(site.sent) == len(site.content)


def test_a_second_command_goes_on(site, tmp_path, monkeypatch):
    write = resume._Counted.write

    def interrupted(self, data):
        if self.stream.tell() >= 20 * CHUNK:
            raise KeyboardInterrupt
        return write(self, data)

    monkeypatch.setattr(resume._Counted, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get_archive(archive_of(site), tmp_path)
    assert left_in(tmp_path) == ["data.zip.part", "data.zip.part.json"]
    assert download.missing_bytes(archive_of(site), tmp_path) == len(site.content) - 20 * CHUNK
    monkeypatch.setattr(resume._Counted, "write", write)
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["", f"bytes={20 * CHUNK}-"]
    assert (tmp_path / "data.zip").read_bytes() == site.content
    assert left_in(tmp_path) == ["data.zip"]


def test_a_part_that_is_whole_is_not_asked_for(site, tmp_path):
    version = {"url": site.url, "etag": None, "modified": None, "total": len(site.content)}
    (tmp_path / "data.zip.part").write_bytes(site.content)
    (tmp_path / "data.zip.part.json").write_text(json.dumps(version))
    get_archive(archive_of(site), tmp_path)
    assert site.asked == []
    assert left_in(tmp_path) == ["data.zip"]


@pytest.mark.parametrize("said", ["", "not json", '{"url": "x"}', '{"url": "http://127.0.0.1/y", "etag": null}'])
def test_a_part_of_unknown_origin_is_not_continued(site, tmp_path, said):
    (tmp_path / "data.zip.part").write_bytes(b"x" * 500)
    if said:
        (tmp_path / "data.zip.part.json").write_text(said)
    get_archive(archive_of(site), tmp_path)
    assert site.asked == [""]
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_server_without_ranges(site, tmp_path, capsys):
    site.ranges, site.cuts = False, [10_000]
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["", "bytes=10000-"]
    assert (tmp_path / "data.zip").read_bytes() == site.content
    assert "cannot be continued on this server: starting again" in capsys.readouterr().err


def test_server_that_says_no_length_and_no_version(site, tmp_path):
    site.length, site.etag, site.cuts = False, "", [10_000]
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["", "bytes=10000-"]
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_changed_file_is_not_put_together_from_two(site, tmp_path, monkeypatch, capsys):
    site.cuts = [10_000]
    monkeypatch.setattr(resume, "TRIES", 1)
    with pytest.raises(DownloadError, match="interrupted 1 times in a row"):
        get_archive(archive_of(site), tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(resume, "PAUSE_S", 0.001)
    site.content, site.etag = site.content[::-1], '"second"'
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["", "bytes=10000-", ""]
    assert (tmp_path / "data.zip").read_bytes() == site.content
    assert "is another file than it was: starting again" in capsys.readouterr().err


def test_shrunk_file_starts_again(site, tmp_path):
    version = {"url": site.url, "etag": None, "modified": None, "total": None}
    (tmp_path / "data.zip.part").write_bytes(bytes(len(site.content) + 5))
    (tmp_path / "data.zip.part.json").write_text(json.dumps(version))
    get_archive(archive_of(site), tmp_path)
    assert site.asked == [f"bytes={len(site.content) + 5}-", ""]
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_damaged_transfer_is_repeated_once(site, tmp_path, capsys):
    site.damaged = 1
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["", ""]
    assert (tmp_path / "data.zip").read_bytes() == site.content
    assert "not the published file; downloading it once more" in capsys.readouterr().err


def test_wrong_hash_leaves_nothing_in_place(site, tmp_path):
    wrong = archive_of(site).model_copy(update={"hash": f"md5:{0:032x}"})
    (tmp_path / "data.zip").write_bytes(b"an older file of that name")
    with pytest.raises(DownloadError, match="came twice with another hash than the published md5:000") as caught:
        get_archive(wrong, tmp_path)
    assert "\n" not in str(caught.value)
    assert site.asked == ["", ""]
    assert left_in(tmp_path) == []


def test_part_that_was_damaged_on_disk_is_found_by_the_hash(site, tmp_path):
    version = {"url": site.url, "etag": site.etag, "modified": None, "total": len(site.content)}
    (tmp_path / "data.zip.part").write_bytes(bytes(5000))
    (tmp_path / "data.zip.part.json").write_text(json.dumps(version))
    get_archive(archive_of(site), tmp_path)
    assert site.asked == ["bytes=5000-", ""]
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_unknown_hash_is_said(site, tmp_path, capsys):
    get_archive(archive_of(site, hashed=False), tmp_path)
    said = capsys.readouterr().err
    assert f"not known here; its sha256 is {hashlib.sha256(site.content).hexdigest()}" in said


def test_file_of_another_size_is_refused_before_it_comes(site, tmp_path):
    larger = archive_of(site).model_copy(update={"bytes": len(site.content) + 1})
    with pytest.raises(DownloadError, match=f"expected {len(site.content) + 1} bytes, the server offers"):
        get_archive(larger, tmp_path)
    assert left_in(tmp_path) == []


def test_stream_that_goes_on_is_cut_off(site, tmp_path):
    expected = archive_of(site)
    site.length, site.content = False, site.content + bytes(50 * CHUNK)
    with pytest.raises(DownloadError, match=f"sent more than {expected.bytes} bytes"):
        get_archive(expected, tmp_path)
    assert left_in(tmp_path) == []


def test_redirection_is_followed(site, tmp_path):
    moved = archive_of(site).model_copy(update={"url": site.url.replace("data", "moved")})
    site.cuts = [10_000]
    get_archive(moved, tmp_path)
    assert site.asked == ["", "", "bytes=10000-", "bytes=10000-"]
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_busy_server_is_asked_again_and_a_refusal_is_final(site, tmp_path):
    site.codes = [503, 429]
    get_archive(archive_of(site), tmp_path / "a")
    assert site.asked == ["", "", ""]
    site.codes = [404]
    with pytest.raises(DownloadError, match="the server refuses \\(404 Not Found\\)"):
        get_archive(archive_of(site), tmp_path / "b")
    assert len(site.asked) == 4


def test_server_that_is_gone(site, tmp_path):
    port = socket.create_server(("127.0.0.1", 0))
    number = port.getsockname()[1]
    port.close()
    gone = archive_of(site).model_copy(update={"url": f"http://127.0.0.1:{number}/data.zip"})
    with pytest.raises(DownloadError, match=f"interrupted {resume.TRIES} times in a row.*run the same command again"):
        get_archive(gone, tmp_path)


def test_no_space(site, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=len(site.content) - 1))
    with pytest.raises(DownloadError, match=r"are needed.*are free"):
        get_archive(archive_of(site), tmp_path / "not" / "there")
    assert site.asked == []
    (tmp_path / "data.zip.part").write_bytes(b"xy")
    get_archive(archive_of(site), tmp_path)
    assert (tmp_path / "data.zip").read_bytes() == site.content


def test_progress_has_rate_and_time_left(site, tmp_path, monkeypatch, capsys):
    get_archive(archive_of(site), tmp_path / "a")
    lines = [line for line in capsys.readouterr().err.splitlines() if " GB, " in line]
    assert len(lines) == 10
    assert all(line.startswith("data.zip: 0.00 of 0.00 GB, ") and line.endswith(" min left") for line in lines)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with metered("livers.zip") as meter:
        meter.begin(500_000, 1_000_000)
        meter.advance(250_000)
    shown = screen.getvalue()
    assert "livers.zip" in shown
    assert "750.0/1000.0 kB" in shown or "0.8/1.0 MB" in shown


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


# the zip


def taken(tmp_path: Path, files: dict[str, bytes], *, links: tuple[str, ...] = (), **changes) -> dict[str, int]:
    archive = Archive(name="data.zip", url="http://127.0.0.1/data.zip", bytes=1, hash="md5:00")
    path = tmp_path / "in" / "data.zip"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zip_of(files, links=links))
    return extract(path, dataset_of(archive, **changes), ["liver.nii.gz"], tmp_path / "out", room=lambda _: None)


LIVER = "s0001/segmentations/liver.nii.gz"


@pytest.mark.parametrize("prefix", ["", "Totalsegmentator_dataset_v201/"])
def test_only_the_organ_is_taken(tmp_path, prefix):
    names = [
        LIVER,
        "s0001/segmentations/spleen.nii.gz",
        "s0001/ct.nii.gz",
        "meta.csv",
        "x/s1/segmentations/liver.nii.gz",
    ]
    sizes = taken(tmp_path, {prefix + name: name.encode() for name in names})
    assert sizes == {LIVER: len(LIVER), "meta.csv": 8}
    assert left_in(tmp_path / "out") == ["meta.csv", LIVER]
    assert (tmp_path / "out" / LIVER).read_bytes() == LIVER.encode()


@pytest.mark.parametrize(
    "name",
    [
        "../s0002/segmentations/liver.nii.gz",
        "/s0002/segmentations/liver.nii.gz",
        "s0002/../../liver.nii.gz",
        "C:/s0002/segmentations/liver.nii.gz",
        "..\\s0002\\segmentations\\liver.nii.gz",
        "/etc/passwd",
        "../meta.csv",
    ],
)
def test_names_that_lead_out_stop_everything(tmp_path, name):
    with pytest.raises(DownloadError, match="leads out of its folder"):
        taken(tmp_path, {LIVER: b"good", name: b"evil"})
    assert left_in(tmp_path) == ["in/data.zip"]


def test_links_twins_and_bombs_stop_everything(tmp_path):
    second = LIVER.replace("1", "2")
    with pytest.raises(DownloadError, match="is a link or device"):
        taken(tmp_path, {LIVER: b"good", second: b"/etc/passwd"}, links=(second,))
    with pytest.raises(DownloadError, match=r"holds s0001/segmentations/liver.nii.gz twice"):
        taken(tmp_path, {LIVER: b"good", f"a/{LIVER}": b"other"})
    with pytest.raises(DownloadError, match="would have 3 MB, expected at most 1"):
        taken(tmp_path, {LIVER: bytes(3_000_000)})
    with pytest.raises(DownloadError, match="2 files would have"):
        taken(tmp_path, {LIVER: bytes(900_000), second: bytes(900_000)}, total_gb=0.001)
    with pytest.raises(DownloadError, match=r"holds no liver\.nii\.gz"):
        taken(tmp_path, {"meta.csv": b"only this"})
    assert left_in(tmp_path) == ["in/data.zip"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["..", ".", "", "s0001", "segmentations", "liver.nii.gz", "meta.csv", "C:", "a\\b"]))
        .map("/".join)
        .filter(bool)
        | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        unique=True,
        max_size=5,
    )
)
def test_whatever_a_zip_says_nothing_lands_outside(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("zip")
    try:
        taken(folder, {LIVER: b"good", **dict.fromkeys(names, b"evil")})
    except DownloadError:
        assert left_in(folder) == ["in/data.zip"]
    assert set(left_in(folder)) <= {"in/data.zip", f"out/{LIVER}", "out/meta.csv"}


def test_extraction_goes_on_and_replaces_what_is_torn(tmp_path):
    files = {LIVER.replace("1", str(number)): bytes([number]) * 50 for number in range(4)}
    taken(tmp_path, files)
    kept, torn, changed, gone = (tmp_path / "out" / name for name in files)
    torn.write_bytes(b"short")
    changed.write_bytes(b"y" * 50)
    gone.unlink()
    before = kept.stat().st_ino
    asked = []
    archive = Archive(name="data.zip", url="http://127.0.0.1/data.zip", bytes=1, hash="md5:00")
    extract(tmp_path / "in/data.zip", dataset_of(archive), ["liver.nii.gz"], tmp_path / "out", room=asked.append)
    assert kept.stat().st_ino == before
    assert asked == [150]
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files


def test_damaged_member_is_never_in_place(tmp_path):
    data = bytearray(zip_of({LIVER: np.random.default_rng(0).bytes(5000)}))
    data[2000] ^= 1
    path = tmp_path / "data.zip"
    path.write_bytes(data)
    for digest in ("md5:00", None):
        archive = Archive(name="data.zip", url="http://127.0.0.1/data.zip", bytes=1, hash=digest)
        with pytest.raises(DownloadError, match="not a whole zip"):
            extract(path, dataset_of(archive), ["liver.nii.gz"], tmp_path / "out", room=lambda _: None)
        assert left_in(tmp_path) == (["data.zip"] if digest else [])


# the catalogue


def test_the_list_fits_the_plugins():
    downloads = read_downloads(shapegen_organs.tables.DOWNLOADS)
    catalog = discover()
    own = [entry for entry in catalog.entries("organ") if entry.source.distribution == "shapegen"]
    assert len(own) > 100
    for entry in own:
        organ = entry.plugin.build(entry.plugin.config())
        found = datasets_of(organ_files(catalog, entry.name))
        assert list(found) == ["totalsegmentator-small", "totalsegmentator"], entry.name
        assert all(dataset.preset in organ.tables.presets for dataset in found.values())
    classes = json.loads((shapegen_organs.tables.HERE / "organs.json").read_text())["classes"]
    assert [list(names) for names in downloads.structures.values()] == [classes]
    for dataset in downloads.datasets.values():
        assert dataset.archive.url == f"{dataset.page}/files/{dataset.archive.name}"
        assert dataset.archive.hash.startswith("md5:")
        assert len(dataset.archive.hash) == 36


def test_organ_that_no_dataset_has(site, tmp_path):
    catalog = discover()
    path = listed(tmp_path, dataset_of(archive_of(site)), ["spleen", "kidney_left"])
    kidney = organ_files(catalog, "kidney")
    assert kidney.files == ("kidney_right.nii.gz", "kidney_left.nii.gz")
    changed = type(kidney)(organ="kidney", files=kidney.files, downloads=path)
    with pytest.raises(ConfigError, match=r"no public dataset that is known has kidney .*near are kidney-left"):
        datasets_of(changed)
    with pytest.raises(ConfigError, match="knows no public data"):
        datasets_of(type(kidney)(organ="kidney", files=(), downloads=None))
    path.write_text('{"datasets": {}}')
    with pytest.raises(CorruptFileError, match="structures: Field required"):
        datasets_of(changed)


# the command


def listed(folder: Path, dataset: Dataset, names: list[str]) -> Path:
    path = folder / "downloads.json"
    path.write_text(json.dumps({"datasets": {"tiny": dataset.model_dump()}, "structures": {"all": names}}))
    return path


@pytest.fixture
def fetch(site, tmp_path, monkeypatch):
    """Run `shapegen fetch` with a list of one dataset, which the local server has."""
    path = listed(tmp_path, dataset_of(archive_of(site)), ["liver", "spleen"])
    for module in (shapegen_organs.liver, shapegen_organs.label_maps):
        monkeypatch.setattr(module, "DOWNLOADS", path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHAPEGEN_DEBUG", raising=False)
    runner = CliRunner()

    def fetch(*arguments, answer=None):
        return runner.invoke(app, ["fetch", *map(str, arguments)], input=answer)

    return fetch


def test_fetched_data_is_data(fetch, site, tmp_path):
    folder = tmp_path / "my data"
    result = fetch("liver", "--from", "tiny", "--to", folder, "--yes")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"shapegen run --organ liver --data '{folder}:totalsegmentator'\n"
    for told in (
        "CC BY 4.0 (https://creativecommons.org",
        "Somebody 2023",
        "0.00 GB",
        str(folder),
        "deleted afterwards",
    ):
        assert told in result.stderr
    livers = [f"{subject}/segmentations/liver.nii.gz" for subject in SUBJECTS]
    assert left_in(folder) == ["fetched.json", "lock", "meta.csv", *livers]
    entry = discover().find("organ", "liver")
    organ = entry.plugin.build(entry.plugin.config())
    items, unusable = organ.scan([f"{folder}:totalsegmentator"])
    assert [item.id for item in items] == [f"my data/{subject}" for subject in SUBJECTS]
    assert unusable == []
    assert organ.load(items[0]).meta["volume_ml"] > 300
    again = fetch("liver", "--from", "tiny", "--to", folder)
    assert (again.exit_code, again.stdout) == (0, result.stdout)
    assert len(site.asked) == 1, "what is there needs no network and no question"
    (folder / livers[0]).unlink()
    assert fetch("liver", "--from", "tiny", "--to", folder, "--yes").exit_code == 0
    assert (folder / livers[0]).is_file()


def test_another_organ_of_a_kept_archive(fetch, site, tmp_path):
    assert fetch("liver", "--from", "tiny", "--yes", "--keep-archive").exit_code == 0
    result = fetch("spleen", "liver", "--from", "tiny", "--yes")
    assert result.exit_code == 0, result.stderr
    assert len(site.asked) == 1
    folder = tmp_path / "home" / "shapegen" / "datasets" / "tiny"
    assert [line.split()[3] for line in result.stdout.splitlines()] == ["spleen", "liver"]
    assert sorted(json.loads((folder / "fetched.json").read_text())["organs"]) == ["liver", "spleen"]
    assert "data.zip" not in left_in(folder)


def test_nothing_comes_without_a_yes(fetch, site, tmp_path, monkeypatch):
    refused = fetch("liver", "--from", "tiny")
    assert (refused.exit_code, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)" in line
    assert "accept it with --yes" in line
    dry = fetch("liver", "--from", "tiny", "--dry-run")
    assert dry.exit_code == 0
    assert "md5:" in dry.stdout
    assert fetch("--list").stdout.startswith("tiny: liver, 0.0 GB, CC BY 4.0: scans\n")
    assert (site.asked, (tmp_path / "home").exists()) == ([], False)


def test_the_question_on_a_terminal(fetch, site, monkeypatch):
    monkeypatch.setattr(sys.modules["shapegen.cli.fetch"], "sys", _Terminal)
    no = fetch("liver", "--from", "tiny", answer="\n")
    assert (no.exit_code, no.stdout.strip(), site.asked) == (1, "", [])
    assert "nothing was downloaded" in no.stderr
    yes = fetch("liver", "--from", "tiny", answer="y\n")
    assert yes.exit_code == 0, yes.stderr
    assert len(site.asked) == 1


class _Terminal:
    class stdin:  # noqa: N801
        @staticmethod
        def isatty() -> bool:
            return True


def test_wrong_names_and_places(fetch, site, tmp_path):
    assert "say which organ" in fetch().stderr
    assert "say from where, as in `shapegen fetch liver --from tiny`" in fetch("liver").stderr
    assert "Did you mean 'tiny'" in fetch("liver", "--from", "tinny").stderr
    assert "Did you mean 'liver'" in fetch("livr", "--from", "tiny").stderr
    none = fetch("pancreas", "--from", "tiny")
    assert (none.exit_code, none.stdout) == (2, "")
    assert "no public dataset that is known has pancreas (tiny were looked at)" in none.stderr
    other = tmp_path / "other"
    (other / "s0000").mkdir(parents=True)
    foreign = fetch("liver", "--from", "tiny", "--to", other, "--yes")
    assert foreign.exit_code == 1
    assert "holds other files, such as s0000, and could be overwritten; choose another --to" in foreign.stderr
    mine = tmp_path / "mine"
    assert fetch("liver", "--from", "tiny", "--to", mine, "--yes").exit_code == 0
    receipt = json.loads((mine / "fetched.json").read_text())
    (mine / "fetched.json").write_text(json.dumps({**receipt, "dataset": "huge"}))
    assert "holds huge from" in fetch("liver", "--from", "tiny", "--to", mine, "--yes").stderr
    busy = tmp_path / "busy"
    busy.mkdir()
    lock = Lock(busy)
    asked = len(site.asked)
    taken = fetch("liver", "--from", "tiny", "--to", busy, "--yes")
    lock.release()
    assert (taken.exit_code, len(site.asked)) == (1, asked)
    assert "is in use by another shapegen; wait for it or choose another --to" in taken.stderr


def test_full_disk_loses_nothing(fetch, site, tmp_path, monkeypatch):
    write = resume._Counted.write

    def full(self, data):
        if self.stream.tell() >= 20 * CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(resume._Counted, "write", full)
    result = fetch("liver", "--from", "tiny", "--to", tmp_path / "d", "--yes")
    assert result.exit_code == 1
    assert "disk full: nothing finished is lost" in result.stderr.splitlines()[-1]
    monkeypatch.setattr(resume._Counted, "write", write)
    dry = fetch("liver", "--from", "tiny", "--to", tmp_path / "d", "--dry-run")
    assert "of which 0.00 GB are here" in dry.stdout
    assert fetch("liver", "--from", "tiny", "--to", tmp_path / "d", "--yes").exit_code == 0
    assert site.asked == ["", f"bytes={20 * CHUNK}-"]
