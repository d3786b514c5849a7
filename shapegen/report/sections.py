"""The sections of the report page, each from the material of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shapegen.report import figures
from shapegen.report.contact_sheet import Picture
from shapegen.report.html import Link, Section, code, flat_facts, folded, gallery, listing, pair, paragraph
from shapegen.report.material import Material
from shapegen.report.parts import PartPictures, parts_section
from shapegen.report.render import View
from shapegen.report.results import generation_table, novelty_table, parts_table, reconstruction_table, validity_table
from shapegen.report.run_measures import anatomy
from shapegen.report.tables import number, to_html

UNITS = (
    "Distances are in units of the canonical cube [-0.5, 0.5]³ or of the metric's own normalisation (see the "
    "documentation of each metric); volumes in mL. Intervals are 95 % intervals."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """What was drawn.

    Args:
        views: the views of each picture.
        extent_mm: what the width of a picture shows.
        real: real shapes.
        real_from: where they are from, in words.
        generated: samples.
        pairs: a sample, its nearest training shape, and a caption.
        parts: shapes coloured by their parts, where the run has any.
    """

    views: tuple[View, ...]
    extent_mm: float
    real: Sequence[Picture]
    real_from: str
    generated: Sequence[Picture]
    pairs: Sequence[tuple[Picture, Picture, str]]
    parts: PartPictures | None = None


def sections(
    material: Material, pictures: Pictures, drawn: Mapping[str, str], *, solid: str, links: str | None
) -> list[Section]:
    """Return every section of the page, in order.

    Args:
        drawn: what `run_figures` drew.
        solid: the viewer, HTML.
        links: from the page to the folder of the stage `sample`; None: no links.
    """
    return [
        Section(id="solid", title="Shapes in 3D", body=solid),
        Section(id="notes", title="Notes", body=_notes(material)),
        Section(id="shapes", title="Pictures", body=_shapes(material, pictures)),
        Section(id="neighbours", title="Nearest training shapes", body=_neighbours(material, pictures)),
        Section(id="reconstruction", title="Reconstruction", body=_table(material, "reconstruction")),
        Section(id="generation", title="Generation", body=_table(material, "generation")),
        Section(id="novelty", title="Novelty and validity", body=_novelty(material)),
        Section(id="parts", title="Parts", body=_parts(material, pictures)),
        Section(id="volumes", title="Volumes", body=_figures(drawn, "volumes")),
        Section(id="anatomy", title="Anatomy", body=_anatomy(drawn)),
        Section(id="training", title="Training", body=_training(material, drawn)),
        Section(id="inputs", title="Inputs", body="" if material.shared else _inputs(material)),
        Section(id="meshes", title="Meshes", body=_meshes(material, links) if links is not None else ""),
        Section(id="timings", title="Timings", body=_figures(drawn, "timings")),
        Section(
            id="configuration", title="Configuration", body=folded("Resolved configuration", code(material.config))
        ),
        Section(id="provenance", title="Provenance", body=_provenance(material)),
    ]


def run_figures(material: Material) -> dict[str, str]:
    """Return every figure of the page as SVG, by name; one that has nothing to show is left out."""
    titles = {"fit": "Fitting the weight space", "train": "Training the denoiser"}
    drawn = {
        "volumes": figures.volume_histogram(*material.volumes()),
        "anatomy": figures.distributions(*anatomy(material), name="anatomy", dots=not material.shared),
        **{
            f"loss-{stage}": figures.loss_curves(rows, name=f"loss-{stage}", title=titles.get(stage, stage))
            for stage, rows in material.logs.items()
        },
        "timings": figures.stage_timings(material.seconds),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _notes(material: Material) -> str:
    said = list(material.manifest.get("notes", ()))
    found = [
        note for note in (material.population.notes if material.population else ()) if f"prepare: {note}" not in said
    ]
    found += said
    for row in material.metrics.get("failed", ()):
        found.append(f"metric {row.get('plugin')} failed while {row.get('doing')}: {row.get('error')}")
    return "".join(paragraph(str(note)) for note in dict.fromkeys(found))


def _shapes(material: Material, pictures: Pictures) -> str:
    missing = _absent(material, "prepare") + _absent(material, "sample")
    if not pictures.real and not pictures.generated:
        return missing
    named = " and ".join(pictures.views)
    caption = (
        f"Each shape in {named} view (the patient's right on the left), all at one scale, aligned to the population. "
        "Generated shapes are the first of the list, none chosen."
    )
    groups = ((f"Real ({pictures.real_from})", pictures.real), ("Generated", pictures.generated))
    sides = "".join(
        gallery(group, views=pictures.views, heading=heading, extent_mm=pictures.extent_mm) for heading, group in groups
    )
    return f'{paragraph(caption, style="note")}{missing}<div class="sides">{sides}</div>'


def _neighbours(material: Material, pictures: Pictures) -> str:
    pairs = "".join(pair(left, right, views=pictures.views, caption=text) for left, right, text in pictures.pairs)
    if not pairs:
        return ""
    intro = (
        "The samples that are nearest to a training shape, nearest first, each beside that shape: a copy would look "
        "the same." + _yardstick(material)
    )
    return f'{paragraph(intro, style="note")}<div class="pairs">{pairs}</div>'


def _yardstick(material: Material) -> str:
    """Say what distances unseen real shapes and copies have."""
    novelty = material.metrics.get("novelty") or {}
    held_out, copy = novelty.get("held_out") or {}, novelty.get("copy")
    if not held_out:
        return ""
    text = f" Held-out real shapes have a mean distance of {number(held_out.get('mean'))}"
    if near := novelty.get("near_copies"):
        text += f", {number(100 * near['quantile'])} % of them one below {number(near['limit'])}"
    return text + (f"; an exact copy, sampled again, has {number(copy)}." if copy is not None else ".")


def _table(material: Material, name: str) -> str:
    describe = reconstruction_table if name == "reconstruction" else generation_table
    table = describe(material.metrics)
    if table:
        return to_html(table) + paragraph(UNITS, style="note")
    return _absent(material, "evaluate") or paragraph(f"No {name} metric was computed.", style="absent")


def _novelty(material: Material) -> str:
    tables = [table for describe in (novelty_table, validity_table) if (table := describe(material.metrics))]
    return "".join(to_html(table) for table in tables) or _absent(material, "evaluate")


def _parts(material: Material, pictures: Pictures) -> str:
    table = parts_table(material.metrics)
    return parts_section(material, pictures.parts) + (to_html(table) if table else "")


def _anatomy(drawn: Mapping[str, str]) -> str:
    if "anatomy" not in drawn:
        return ""
    text = (
        "Box: quartiles and median; whiskers: 5 to 95 %; dots: single shapes beyond. Real shapes are training and "
        "held-out shapes, as far as they were measured."
    )
    return _figures(drawn, "anatomy", wide=True) + paragraph(text, style="note")


def _training(material: Material, drawn: Mapping[str, str]) -> str:
    absent = _absent(material, "fit") + _absent(material, "train")
    return absent + _figures(drawn, *(name for name in drawn if name.startswith("loss-")))


def _inputs(material: Material) -> str:
    population = material.population
    if population is None:
        return _absent(material, "prepare")
    sizes = ", ".join(f"{count} {split}" for split, count in material.split_sizes().items())
    groups = len({shape.group for shape in population.shapes})
    body = paragraph(f"{len(population.shapes)} shapes of {groups} patients or groups: {sizes}.")
    left = [(row.get("file", ""), row.get("reason", "")) for row in population.unusable]
    body += folded(
        f"Inputs that could not be used: {len(left)}",
        listing("Inputs that could not be used", ("file", "reason"), left),
    )
    repaired = [(shape.id, "; ".join(map(str, found))) for shape in population if (found := shape.meta.get("repairs"))]
    body += folded(
        f"Inputs that were repaired: {len(repaired)}", listing("Repaired inputs", ("shape", "repairs"), repaired)
    )
    shapes = [(shape.id, shape.group, shape.split, number(float(shape.volume_ml))) for shape in population]
    return body + folded(
        f"All shapes: {len(shapes)}",
        listing("Shapes of the population", ("shape", "group", "split", "volume [mL]"), shapes),
    )


def _meshes(material: Material, links: str) -> str:
    if "sample" in material.missing:
        return _absent(material, "sample")
    rows = [
        (
            Link(links + str(sample["file"])) if sample.get("file") else f"{sample.get('id', '')}: empty, no mesh",
            number(sample.get("volume_ml")),
            number(sample.get("components")),
            _yes(sample.get("closed")),
            _yes(sample.get("oriented")),
        )
        for sample in material.samples
    ]
    columns = ("file", "volume [mL]", "components", "closed", "oriented")
    intro = (
        f"The generated meshes lie in the run folder under sample/meshes ({material.space}). The links work while this "
        "page and its run folder stay where they are."
    )
    return paragraph(intro) + folded(f"Generated shapes: {len(rows)}", listing("Generated shapes", columns, rows))


def _provenance(material: Material) -> str:
    if not material.manifest:
        return paragraph("The run folder has no manifest.", style="absent")
    whole = json.dumps(material.manifest, indent=1, sort_keys=True, ensure_ascii=False)
    if len(whole) > 500_000:
        whole = whole[:500_000] + "\n… cut here; the whole is in manifest.json"
    facts = flat_facts({key: value for key, value in material.manifest.items() if key != "inputs"})
    return folded("Facts", listing("Manifest", ("fact", "value"), facts)) + folded("Whole manifest", code(whole))


def _figures(drawn: Mapping[str, str], *names: str, wide: bool = False) -> str:
    shown = "".join(f"<div>{drawn[name]}</div>" for name in names if name in drawn)
    return f'<div class="figures{" whole" if wide else ""}">{shown}</div>' if shown else ""


def _absent(material: Material, stage: str) -> str:
    return paragraph(material.missing[stage], style="absent") if stage in material.missing else ""


def _yes(value: object) -> str:
    return "n/a" if value is None else "yes" if value else "no"
