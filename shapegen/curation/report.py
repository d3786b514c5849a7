"""The report of a curated folder: one page with pictures and reasons, the worst first."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from shapegen.curation.decisions import Decision, automatic_verdict, final_verdict, read_decisions
from shapegen.curation.lists import write_lists
from shapegen.curation.verdicts import SEVERITY, VERDICTS, Verdict
from shapegen.store import write_bytes

__all__ = ["MEANING", "write_lists", "write_report"]

MEANING: Mapping[Verdict, str] = {
    "ok": "Complete: these go on.",
    "cut": "The scan or a plane cuts the organ off.",
    "require_edit": "Crumbs, holes, ragged parts or a staircase that cleaning does not mend.",
    "nope": "Not the organ, beyond repair, or not readable.",
    "not_sure": "No check objects clearly, but something is unusual: have a look.",
}
WORST_FIRST = sorted(VERDICTS, key=lambda verdict: -SEVERITY[verdict])
REPORT = "report.html"

Items = Sequence[Mapping[str, Any]]


def write_report(folder: Path) -> Path:
    """Write `report.html`, one page without scripts or network, and return its path.

    Raises:
        CorruptFileError: `curation.json` or `decisions.json` is damaged.
    """
    from shapegen.curation.folder import read_curation
    from shapegen.report.html import Section, page

    data, decisions = read_curation(folder), read_decisions(folder)
    items: Items = data["items"]
    decided = {item["id"]: decisions[item["id"]] for item in items if item["id"] in decisions}
    counts = Counter(final_verdict(item, decisions) for item in items)
    mended = sum(item["after_repair"] == "ok" and item["verdict"] != "ok" for item in items)
    overruled = sum(item["id"] in decided and _overrules(item, decided[item["id"]]) for item in items)
    summary = [
        f"{counts['ok']} of {len(items)} items go on; {mended} were mended.",
        f"A reviewer decided {len(decided)}, {overruled} of them otherwise than the checks." if decided else "",
        *map(str, data["notes"]),
    ]
    checks = sorted({finding["check"] for item in items for finding in item["findings"]})
    sections = [Section(id="overview", title="Overview", body=_overview(items, decided, checks))]
    for verdict in WORST_FIRST:
        chosen = [item for item in items if final_verdict(item, decided) == verdict]
        chosen.sort(key=lambda item: (-item["severity"], item["id"]))
        body = _cards(verdict, folder, chosen, decided, checks) if chosen else ""
        sections.append(Section(id=verdict, title=f"{verdict} ({len(chosen)})", body=body))
    facts: dict[str, str] = {"items": str(len(items))}
    facts |= {verdict: str(counts[verdict]) for verdict in VERDICTS}
    text = page(title=f"Curation: {data['organ']}", facts=facts, summary=list(filter(None, summary)), sections=sections)
    text = text.replace("</head>", f"<style>\n{_style(len(checks))}</style>\n</head>", 1)
    write_bytes(folder / REPORT, text.encode("utf-8", "backslashreplace"))
    return folder / REPORT


def _overview(items: Items, decided: Mapping[str, Decision], checks: Sequence[str]) -> str:
    from shapegen.report.html import listing

    read, repaired = Counter(item["verdict"] for item in items), Counter(map(automatic_verdict, items))
    final, by_hand = (
        Counter(final_verdict(item, decided) for item in items),
        Counter(d.verdict for d in decided.values()),
    )
    columns = ("class", "as read", "after repair", "decided by a reviewer", "in the end", "meaning")
    rows = [(v, str(read[v]), str(repaired[v]), str(by_hand[v]), str(final[v]), MEANING[v]) for v in WORST_FIRST]
    reasons = [_reason(items, check) for check in checks]
    return (
        listing("Items of each class", columns, rows)
        + listing("Objections", ("check", "class", "items", "of them mended", "threshold"), reasons)
        + _filters(checks)
    )


def _reason(items: Items, check: str) -> tuple[str, str, str, str, str]:
    found = [finding for item in items for finding in item["findings"] if finding["check"] == check]
    classes = sorted({str(finding["verdict"]) for finding in found})
    limits = sorted({float(finding["threshold"]) for finding in found})
    mended = sum(bool(finding["mended"]) for finding in found)
    return check, ", ".join(classes), str(len(found)), str(mended), ", ".join(f"{limit:.4g}" for limit in limits)


def _filters(checks: Sequence[str]) -> str:
    classes = "".join(f'<option value="class-{verdict}">{verdict}</option>' for verdict in WORST_FIRST)
    reasons = "".join(f'<option value="check-{k}">{escape(check)}</option>' for k, check in enumerate(checks))
    return (
        f'<div class="filters"><label>Class <select><option>all</option>{classes}</select></label>'
        f"<label>Objection <select><option>any or none</option>{reasons}</select></label></div>"
    )


def _style(checks: int) -> str:
    style = (files("shapegen.curation") / "page" / "report.css").read_text(encoding="utf-8")
    chosen = 'body:has(option[value="{}"]:checked)'
    for verdict in VERDICTS:
        others = ", ".join(f"#{other}" for other in VERDICTS if other != verdict)
        style += f"{chosen.format(f'class-{verdict}')} :is({others}) {{ display: none; }}\n"
    for number in range(checks):
        style += f"{chosen.format(f'check-{number}')} .item:not(.check-{number}) {{ display: none; }}\n"
    return style


def _cards(verdict: Verdict, folder: Path, items: Items, decided: Mapping[str, Decision], checks: Sequence[str]) -> str:
    from shapegen.report.html import paragraph

    cards = "".join(_card(verdict, folder, item, decided.get(item["id"]), checks) for item in items)
    return f'{paragraph(MEANING[verdict], style="note")}<div class="items">{cards}</div>'


def _card(
    verdict: Verdict, folder: Path, item: Mapping[str, Any], decision: Decision | None, checks: Sequence[str]
) -> str:
    pictures = [_picture(folder, name, f"{item['id']}, picture {k + 1}") for k, name in enumerate(item["pictures"])]
    reasons = [_finding(finding) for finding in item["findings"]]
    if item["reason"] and item["reason"] not in {finding["text"] for finding in item["findings"]}:
        reasons.append(f"<li>{escape(item['reason'])}</li>")
    reasons += [f"<li>repaired: {escape(repair['text'])}</li>" for repair in item["repairs"]]
    reasons += [
        f"<li>scan of the same organ: {escape(name)} ({mm:.1f} mm apart)</li>"
        for name, mm in item.get("repeats", {}).items()
    ]
    marks = {f"check-{checks.index(finding['check'])}" for finding in item["findings"]}
    return (
        f'<article class="{" ".join(["item", verdict, *sorted(marks)])}"><h3>{escape(item["id"])}</h3>'
        f'<p class="file">{escape(item["file"])}</p>'
        + (f'<div class="views">{"".join(pictures)}</div>' if any(pictures) else "")
        + "".join(f"<p>{line}</p>" for line in _said(item, decision))
        + (f"<ul>{''.join(reasons)}</ul></article>" if reasons else "</article>")
    )


def _said(item: Mapping[str, Any], decision: Decision | None) -> Iterable[str]:
    """Yield lines of HTML on who thinks what of an item."""
    after = f" after repair {_tag(item['after_repair'])}" if item["after_repair"] else ""
    yield f"As read {_tag(item['verdict'])}{after}"
    if item["probability"]:
        likely = sorted(item["probability"].items(), key=lambda pair: -pair[1])
        shares = ", ".join(f"{escape(name)} {share:.0%}" for name, share in likely if share >= 0.005)
        yield f"Probability: {shares}"
    if decision:
        did = "overruled by" if _overrules(item, decision) else "confirmed by"
        note = f": “{escape(decision.note)}”" if decision.note else ""
        yield f"{_tag(decision.verdict)} {did} a reviewer{note}"


def _overrules(item: Mapping[str, Any], decision: Decision) -> bool:
    return decision.verdict != automatic_verdict(item)


def _finding(finding: Mapping[str, Any]) -> str:
    # Without a threshold the check is a yes or no, such as whether a file can be read.
    limit = float(finding["threshold"])
    said = [f"{float(finding['measure']):.4g}", f"threshold {limit:.4g}"] if limit else []
    said += ['<span class="mended">mended</span>'] if finding["mended"] else []
    measured = f" ({', '.join(said)})" if said else ""
    return f"<li><strong>{escape(finding['check'])}</strong>{measured}: {escape(finding['text'])}</li>"


def _tag(verdict: str) -> str:
    return f'<span class="tag {escape(verdict)}">{escape(verdict)}</span>'


def _picture(folder: Path, name: str, alt: str) -> str:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img loading="lazy" src="data:image/png;base64,{data}" alt="{escape(alt)}">'
