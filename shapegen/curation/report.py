"""The report of a curated folder: one page with pictures, the worst first; and the lists and table beside it."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from shapegen.curation.decisions import Decision, automatic_verdict, final_verdict, read_decisions
from shapegen.curation.folder import read_curation
from shapegen.curation.verdicts import SEVERITY, VERDICTS, Verdict
from shapegen.report.html import Section, page, paragraph
from shapegen.store import write_bytes

MEANING: Mapping[Verdict, str] = {
    "ok": "Complete: these go on.",
    "cut": "The scan or a plane cuts the organ off.",
    "require_edit": "Crumbs, holes, ragged parts or a staircase that cleaning does not mend.",
    "nope": "Not the organ, beyond repair, or not readable.",
    "not_sure": "No check objects clearly, but something is unusual: have a look.",
}
STYLE = (
    "<style>.items{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(26rem,100%),1fr))}"
    ".item{border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;content-visibility:auto;"
    "contain-intrinsic-size:auto 18rem}.item h3{margin:0;overflow-wrap:anywhere}.item .views{display:flex}"
    ".item img{width:33%;height:auto}.item ul{margin:.3rem 0;padding-left:1.1rem;font-size:.9rem}</style>"
)


def write_report(folder: Path) -> Path:
    """Write `report.html`, one page without scripts or network, and return its path.

    Raises:
        CorruptFileError: `curation.json` or `decisions.json` is damaged.
    """
    data, decisions = read_curation(folder), read_decisions(folder)
    items = data["items"]
    counts = Counter(final_verdict(item, decisions) for item in items)
    mended = sum(item["after_repair"] == "ok" and item["verdict"] != "ok" for item in items)
    facts: dict[str, str] = {"items": str(len(items))}
    facts |= {verdict: str(counts[verdict]) for verdict in VERDICTS}
    summary = [
        f"{counts['ok']} of {len(items)} items go on; {mended} of them were mended. "
        f"{len(decisions)} were decided by a reviewer.",
        *data["notes"],
    ]
    sections = [_section(verdict, folder, items, decisions) for verdict in sorted(VERDICTS, key=lambda v: -SEVERITY[v])]
    text = page(title=f"Curation: {data['organ']}", facts=facts, summary=summary, sections=sections)
    path = folder / "report.html"
    write_bytes(path, text.replace("</head>", f"{STYLE}</head>", 1).encode())
    return path


def write_lists(folder: Path) -> None:
    """Write `ok.txt`, ... with one id in each line, as the published set has them, and the table `curation.csv`."""
    items, decisions = read_curation(folder)["items"], read_decisions(folder)
    for verdict in VERDICTS:
        chosen = [item["id"] for item in items if final_verdict(item, decisions) == verdict]
        write_bytes(folder / f"{verdict}.txt", "".join(f"{name}\n" for name in chosen).encode())
    checks = sorted({check for item in items for check in item["measures"] if check in item["measures"][check]})
    stream = io.StringIO()
    writer = csv.writer(stream)
    classes = [verdict for verdict in VERDICTS if verdict != "not_sure"]
    header = ["id", "group", "file", "final", "verdict", "after_repair", "decided", *(f"p_{each}" for each in classes)]
    writer.writerow([*header, *checks, "reasons"])
    for item in items:
        decision = decisions.get(item["id"])
        likely = item["probability"] or {}
        measured = item["measures"]
        writer.writerow(
            [item["id"], item["group"] or "", item["file"], final_verdict(item, decisions), item["verdict"]]
            + [item["after_repair"] or "", decision.verdict if decision else ""]
            + [f"{likely[each]:.4f}" if each in likely else "" for each in classes]
            + [f"{measured[check][check]:.6g}" if check in measured else "" for check in checks]
            + ["; ".join(finding["text"] for finding in item["findings"])]
        )
    write_bytes(folder / "curation.csv", stream.getvalue().encode())


def _section(
    verdict: Verdict, folder: Path, items: Iterable[Mapping[str, Any]], decisions: Mapping[str, Decision]
) -> Section:
    chosen = [item for item in items if final_verdict(item, decisions) == verdict]
    chosen.sort(key=lambda item: (-item["severity"], item["id"]))
    cards = "".join(_card(folder, item, decisions.get(item["id"])) for item in chosen)
    body = f'{paragraph(MEANING[verdict], style="note")}<div class="items">{cards}</div>' if chosen else ""
    return Section(id=verdict, title=f"{verdict} ({len(chosen)})", body=body)


def _card(folder: Path, item: Mapping[str, Any], decision: Decision | None) -> str:
    pictures = "".join(
        _picture(folder / name, f"{item['id']}, view {k + 1}") for k, name in enumerate(item["pictures"])
    )
    lines = [
        f"{finding['check']}: {finding['text']}" + (" (mended)" if finding["mended"] else "")
        for finding in item["findings"]
    ]
    lines += [f"repaired: {repair['text']}" for repair in item["repairs"]]
    lines += [f"scan of the same organ: {name} ({mm:.1f} mm apart)" for name, mm in item["repeats"].items()]
    said = f"as read {item['verdict']}"
    said += f", after repair {item['after_repair']}" if item["after_repair"] else ""
    if item["probability"]:
        said += ", " + ", ".join(f"{name} {share:.0%}" for name, share in item["probability"].items() if share >= 0.005)
    if decision:
        note = f": {decision.note}" if decision.note else ""
        said += f"; a reviewer decided {decision.verdict} instead of {automatic_verdict(item)}{note}"
    points = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<article class="item"><h3>{escape(item["id"])}</h3><div class="views">{pictures}</div>'
        f"{paragraph(said, style='note')}<ul>{points}</ul></article>"
    )


def _picture(path: Path, alt: str) -> str:
    if not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img loading="lazy" src="data:image/png;base64,{data}" alt="{escape(alt)}">'
