"""Makes `liver_quality.safetensors`: the score of livers that ships.

    shapegen curate LITS_COUINAUD --organ liver --out work/curated
    python -m shapegen_organs.make_quality liver --population work/curated --work work/quality

Only livers from LiTS-Couinaud may go in (CC BY-SA 4.0). The file holds their mean shape, measures of them, single
points of their surfaces without saying whose, and the weights of a small network. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from shapegen.quality.find import Lesson

SHIPPED = "lits-couinaud"
STRAYS = 12
LESSON = Lesson(shapes=100, damaged=25)
"""All good livers that there are, 79."""


def main() -> None:
    from shapegen import __version__
    from shapegen.discovery import discover
    from shapegen.errors import ConfigError
    from shapegen.parallel import worker_count
    from shapegen.pretrained import pretrained_organ
    from shapegen.progress import Bars
    from shapegen.quality.find import learned
    from shapegen.quality.population import good_shapes, refused_shapes
    from shapegen.quality.strays import strays
    from shapegen_organs.make_pretrained import LICENCE, SHIPPABLE
    from shapegen_organs.tables import HERE

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("organ", help="its plugin, such as liver")
    parser.add_argument("--population", action="append", required=True, help="curated folder of LiTS-Couinaud")
    parser.add_argument("--work", type=Path, required=True, help="where what was made is kept")
    parser.add_argument("--out", type=Path, help="default: beside this module")
    parser.add_argument("--shapes", type=int, default=LESSON.shapes)
    parser.add_argument("--damaged", type=int, default=LESSON.damaged, help="of how many copies are damaged")
    parser.add_argument("--damages", type=int, default=LESSON.damages, help="damaged copies of each shape")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    catalog, progress = discover(), Bars().bar
    plugin = catalog.find("organ", options.organ).plugin
    good, _ = good_shapes(plugin.build(plugin.config()), options.population, most=options.shapes, progress=progress)
    foreign = sorted({shape.id.partition("/")[0] for shape in good} - {SHIPPED})
    if foreign:
        raise ConfigError(f"a score that ships may only be learned from {SHIPPED}, got {', '.join(foreign)} too")
    pretrained = pretrained_organ(catalog, options.organ)
    generator = pretrained.generator(pretrained.run(catalog))
    model = learned(
        options.organ,
        good,
        [*refused_shapes(options.population), *strays(generator, STRAYS, seed=options.seed)],
        cache=options.work,
        workers=worker_count(options.workers, options.shapes),
        progress=progress,
        lesson=Lesson(options.shapes, options.damaged, options.damages, options.seed),
        card={
            "what": "measures of good and damaged livers, and how they are weighed: a score of livers",
            "made_by": f"shapegen {__version__}, python -m shapegen_organs.make_quality",
            "source": SHIPPABLE[SHIPPED],
            "licence": LICENCE,
            "limits": "learned from damages that were made, not from experts; not for diagnosis or treatment",
        },
    )
    out = options.out or HERE / f"{options.organ}_quality.safetensors"
    model.save(out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {dict(model.card)}")


if __name__ == "__main__":
    main()
