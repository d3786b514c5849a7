"""Makes `liver_triage.safetensors`: measures of good livers, and of the same livers damaged in known ways.

    python -m shapegen_organs.make_triage --data LITS_COUINAUD --work work/triage

Only livers from LiTS-Couinaud may go in (CC BY-SA 4.0): the file ships. What it holds are measures, no shapes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shapegen.curation.corpus import GOOD, Example, make_corpus
from shapegen.curation.examine import checks
from shapegen.curation.examples import Examples
from shapegen.curation.relations import Relations, relate
from shapegen.curation.triage import Measures, Rules, unmended
from shapegen.curation.verdicts import Verdict
from shapegen.progress import Bars
from shapegen.store import derived_seed
from shapegen_organs.liver import HERE, LiverConfig, build

if TYPE_CHECKING:
    from shapegen.protocols import Item

CARD = {
    "what": "measures of livers and of damaged livers, with their classes",
    "source": "LiTS-Couinaud (xukun-zhang/Couinaud-Segmentation); CT: LiTS, Medical Segmentation Decathlon Task03",
    "licence": "CC BY-SA 4.0",
}


def related(examples: Sequence[Example]) -> tuple[list[tuple[Example, Measures]], Relations]:
    """Return the examples that can be read with all their measures, those against the good ones included; and what was
    found about them together, in the same order."""
    read = [each for each in examples if each.measures is not None and each.probe is not None]
    good = [each for each in read if each.damage == GOOD]
    found = relate(
        [each.probe for each in read if each.probe],
        [f"{each.item}/{each.damage}" for each in read],
        prior=[each.probe for each in good if each.probe],
        groups=[each.group for each in read],
        prior_groups=[each.group for each in good],
        repeats=False,
    )
    return [(each, {**(each.measures or {}), **found.measures(row)}) for row, each in enumerate(read)], found


def rows(examples: Sequence[Example]) -> list[tuple[Measures, Verdict, str]]:
    """Return measures, class and patient: of each shape as it was read, and of its repaired surface."""
    result = []
    for each, measures in related(examples)[0]:
        result.append((measures, truth(each), each.group))
        result.append((unmended(measures, checks()), each.verdict if each.left else "ok", each.group))
    return result


def truth(example: Example) -> Verdict:
    """Return the class of a shape as its file gives it: an undamaged file that cleaning has to mend needs editing."""
    if example.good and example.measures is not None and Rules(checks()).findings(example.measures):
        return "require_edit"
    return example.verdict


def drawn(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most so many items in a random order that depends on their names only: a longer list begins with the
    shorter one, so that what was made for that is used again."""
    return sorted(items, key=lambda item: derived_seed(0, "drawn", item.id))[:most]


def accepted(examples: Sequence[Example]) -> list[Example]:
    """Leave out livers to which a check objects as they are, and cleaning does not mend it, with all that was made of
    them."""
    rules = Rules(checks())
    bad = {
        each.item
        for each in examples
        if each.damage == GOOD
        and (each.measures is None or any(not finding.mended for finding in rules.findings(each.measures)))
    }
    good = {each.item for each in examples if each.damage == GOOD} - bad
    return [each for each in examples if each.item in good]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, help="LiTS-Couinaud's folder")
    parser.add_argument("--work", type=Path, required=True, help="where what was made is kept")
    parser.add_argument("--out", type=Path, default=HERE / "liver_triage.safetensors")
    parser.add_argument("--most", type=int, default=100, help="livers")
    parser.add_argument("--damages", type=int, default=2, help="ways to damage each as a label map")
    parser.add_argument("--meshes", type=int, default=2, help="ways to damage every second one as a mesh")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    organ = build(LiverConfig())
    items = drawn(organ.scan(options.data)[0], options.most)
    made = make_corpus(
        organ,
        items,
        damages=options.damages,
        meshes=options.meshes,
        seed=options.seed,
        cache=options.work,
        workers=options.workers,
        progress=Bars().bar,
    )
    examples = Examples.of(rows(accepted(list(made))))
    examples.save(options.out, card={**CARD, "livers": str(len(set(examples.groups.tolist())))})
    print(f"{options.out}: {len(examples)} examples of {len(set(examples.groups.tolist()))} livers")


if __name__ == "__main__":
    main()
