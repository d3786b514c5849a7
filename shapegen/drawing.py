"""Draws shapes from a trained generator into any folder: meshes in mm, codes, weights, and what is true of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapegen.store import write_json, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from shapegen.conditioning.ask import Request
    from shapegen.generator import Generator, Sample
    from shapegen.pretrained import Pretrained
    from shapegen.quality.keep import Keeper
    from shapegen.run import Run

CODES = "codes.safetensors"
SPACE = "population frame: RAS, mm, origin at the centre of the canonical cube"


def draw(
    run: Run,
    *,
    count: int,
    seed: int,
    out: Path,
    mesh_format: str = "ply",
    resolution: int | None = None,
    pretrained: Pretrained | None = None,
    conditions: Sequence[str] = (),
    keeper: Keeper | None = None,
) -> dict[str, Any]:
    """Draw shapes from the run's generator.

    Args:
        count: how many.
        seed: sample i depends on (seed, i) alone, so a larger count adds to the same first ones.
        out: gets `meshes/`, `codes.safetensors` (codes, scales in mm), `weights.safetensors` and `samples.json`.
        mesh_format: ply, stl, obj, glb, vtk or vtp.
        resolution: cells along each axis of the canonical cube; the run's own if None.
        pretrained: draw from this frozen generator, for which the run stands.
        conditions: what the shapes shall be like, such as "volume=1800ml" (`shapegen.conditioning`).
        keeper: says which draws are good enough; only these are written, under the numbers of their draws.

    Returns:
        The content of `samples.json`.

    Raises:
        QualityNotReachedError: no draw is good enough.
        StageMissingError: the run has no trained generator.
        ConfigError: a condition that cannot be met, or not be read.
    """
    import torch

    from shapegen.generator import load_generator

    request = _request(run, conditions)
    generator = pretrained.generator(run) if pretrained else load_generator(run, needed_by="sample")
    resolution = resolution or run.config.sample.resolution
    asked: dict[str, Any] = {}
    samples: Iterable[Sample]
    numbers: Sequence[int] = range(count)
    probabilities: Sequence[float] = ()
    if request is not None:
        codes, scales, samples, asked = _asked(run, generator, request, pretrained, count, seed, resolution)
    elif keeper is not None:
        with run.progress("drawing and judging", count) as advance:
            made = list(keeper.kept(generator, count, seed=seed, resolution=resolution, progress=advance))
        numbers, samples = [each.number for each in made], [each.sample for each in made]
        codes, scales = torch.stack([each.code for each in made]), torch.stack([each.scale for each in made])
        probabilities = [each.score.probability for each in made]
        asked = {"quality": keeper.to_json()}
    else:
        with run.progress("drawing latents", count) as advance:
            codes, scales = generator.codes(count, seed=seed, progress=advance)
        samples = generator.mesh(codes, scales, resolution=resolution, seed=seed)
    _remove_earlier(out)
    write_tensors(out / CODES, {"codes": codes, "scales": scales})
    with run.progress("meshing samples", len(numbers)) as advance:
        rows, weights = write_samples(
            run,
            out,
            generator,
            numbers,
            samples,
            mesh_format=mesh_format,
            seed=seed,
            parts=pretrained is None,
            advance=advance,
        )
    for row, probability in zip(rows, probabilities, strict=False):
        row["quality"] = probability
    if pretrained:
        known = ("made_by", "licence", "sha256")
        asked["pretrained"] = {key: pretrained.facts[key] for key in known if key in pretrained.facts}
    return write_result(run, out, generator, torch.stack(weights), rows, seed=seed, more=asked)


def _remove_earlier(out: Path) -> None:
    """Remove the list, meshes and parts of an earlier draw into this folder, finished or not: nobody could tell which
    mesh is of which draw. The list goes first, so that it never names what another draw made."""
    listed = out / "samples.json"
    if listed.exists() or (out / CODES).exists():
        listed.unlink(missing_ok=True)
        for path in (*out.glob("meshes/sample-[0-9]*.*"), *out.glob("parts/sample-[0-9]*.*")):
            path.unlink()


def write_samples(
    run: Run,
    out: Path,
    generator: Generator,
    numbers: Sequence[int],
    samples: Iterable[Sample],
    *,
    mesh_format: str,
    seed: int,
    parts: bool,
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[list[dict[str, Any]], list[Tensor]]:
    """Write the meshes of samples with these numbers, and their parts if they have any; return what `samples.json` says
    of each, and their weights."""
    from shapegen.geometry.export import write_mesh
    from shapegen.parts.draw import part_drawer

    drawer = part_drawer(run, generator.layout) if parts else None
    rows: list[dict[str, Any]] = []
    weights = []
    for index, sample in zip(numbers, samples, strict=True):
        name = f"sample-{index:04d}"
        file = f"meshes/{name}.{mesh_format}" if sample.surface is not None else None
        if sample.surface is not None:
            write_mesh(out / f"meshes/{name}.{mesh_format}", sample.surface)
        rows.append({"id": name, "file": file, **facts_of(sample)})
        if drawer is not None:
            rows[-1]["parts"] = drawer.write(out, name, sample, seed=seed, index=index)
        weights.append(sample.weights)
        advance(1)
    return rows, weights


def write_result(
    run: Run,
    out: Path,
    generator: Generator,
    weights: Tensor,
    rows: list[dict[str, Any]],
    *,
    seed: int,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    write_tensors(out / "weights.safetensors", {"weights": weights})
    result = {
        "organ": run.config.organ.name,
        "space": SPACE,
        "generator": generator.name,
        "detail": generator.detail is not None,
        "seed": seed,
        "inr": run.config.to_json()["inr"],
        "samples": rows,
        **more,
    }
    write_json(out / "samples.json", result)
    return result


def _request(run: Run, conditions: Sequence[str]) -> Request | None:
    if not conditions:
        return None
    from shapegen.conditioning.ask import parse_request

    return parse_request(conditions, run.catalog)


def _asked(
    run: Run,
    generator: Generator,
    request: Request,
    pretrained: Pretrained | None,
    count: int,
    seed: int,
    resolution: int,
) -> tuple[Tensor, Tensor, Iterable[Sample], dict[str, Any]]:
    """Draw what was asked for; return codes, scales, samples and what to write about it."""
    from shapegen.conditioning.ask import aim_at, draw_asked
    from shapegen.progress import say

    aim = aim_at(request, run, generator, pretrained)
    for warning in aim.warnings:
        say(f"warning: {warning}")
    found, said = draw_asked(aim, run, generator, count=count, seed=seed, resolution=resolution)
    by_attributes = ["attributes of the mesh"] if aim.targets else []
    facts = {
        "asked": list(request.texts),
        "guided_by": list(dict.fromkeys((*by_attributes, *aim.guides, *aim.given))),
        "population": f"{len(aim.table.values)} {aim.table.source}",
        "attributes": found.facts(aim.targets),
        "warnings": list(aim.warnings),
        **said,
    }
    return found.codes, found.scales, found.samples, {"conditions": facts}


def facts_of(sample: Sample) -> dict[str, Any]:
    """Say what is true of a sample before any filter: nothing is dropped, levelled or repaired."""
    from shapegen.geometry.surface import largest_component
    from shapegen.metrics.validity import cheap_facts

    if sample.surface is None:
        return {"empty": True, "scale_mm": sample.scale_mm}
    return {
        **cheap_facts(sample.surface),
        "scale_mm": sample.scale_mm,
        "largest_component_share": largest_component(sample.surface)[1],
    }
