"""One self-contained HTML page, without a network, and the elements that it is put together from.

Every function that takes text escapes it; what is already HTML is named `body` or `html`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from shapegen.report.contact_sheet import BAR_MM, Picture
from shapegen.report.render import Image, View, webp
from shapegen.report.tables import number


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the page.

    Args:
        id: its anchor.
        title: its heading and its entry among the links; text.
        body: HTML.
    """

    id: str
    title: str
    body: str


def page(
    *,
    title: str,
    facts: Mapping[str, str],
    summary: Sequence[str],
    sections: Sequence[Section],
    scripts: Sequence[str] = (),
    style: str = "",
) -> str:
    """Return the whole page.

    Args:
        title: text.
        facts: the headline: short names and values, text.
        summary: sentences, text.
        sections: in order; those with an empty body are left out.
        scripts: run in this order once the page is there; the page's policy lets nothing else run.
        style: a style sheet beside the page's own.
    """
    shown = [section for section in sections if section.body]
    template = Template((files("shapegen.report") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        policy=f"; script-src {' '.join(map(script_hash, scripts))}" if scripts else "",
        style=style,
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        facts="".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items()),
        summary="".join(map(_said, summary)),
        links="".join(f'<li><a href="#{escape(each.id)}">{escape(each.title)}</a></li>' for each in shown),
        sections="\n".join(
            f'<section id="{escape(each.id)}" aria-labelledby="{escape(each.id)}-title">'
            f'<h2 id="{escape(each.id)}-title">{escape(each.title)}</h2>{each.body}</section>'
            for each in shown
        ),
    )


def _said(sentence: str, *, most: int = 500) -> str:
    """Return a sentence of the summary; what a long one enumerates after its colon opens on demand."""
    head, colon, rest = sentence.partition(": ")
    return folded(head, paragraph(rest)) if colon and len(rest) > most else paragraph(sentence)


def script_hash(script: str) -> str:
    """Return a script's hash as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def embedded(image: Image, *, alt: str) -> str:
    """Return an image as an `img` with its WebP in it, which takes a sixth of a PNG's room."""
    data = base64.b64encode(webp(image)).decode()
    height, width = image.shape[:2]
    return f'<img src="data:image/webp;base64,{data}" width="{width}" height="{height}" alt="{escape(alt)}">'


def picture(shape: Picture, *, views: Sequence[View]) -> str:
    """Return one shape, seen from each view, with its label."""
    kind = "real" if shape.real else "generated"
    drawn = "".join(
        embedded(image, alt=f"{shape.kind or kind} shape {shape.id}, {view} view")
        for image, view in zip(shape.images, views, strict=True)
    )
    note = f"<br>{escape(shape.note)}" if shape.note else ""
    return f'<figure class="shape {kind}">{drawn}<figcaption>{escape(shape.id)}{note}</figcaption></figure>'


def gallery(pictures: Iterable[Picture], *, views: Sequence[View], heading: str, extent_mm: float) -> str:
    """Return pictures, each `extent_mm` wide, in a grid under a heading, and a scale bar below."""
    shapes = "".join(picture(shape, views=views) for shape in pictures)
    # The bar stands in a box as wide as one picture, so that it scales with the pictures.
    share, length = f"{100 * BAR_MM / extent_mm:.2f}%", f"{BAR_MM:.0f} mm"
    bar = (
        f'<div class="shapes" role="img" aria-label="scale bar of {length}"><div>'
        f'<span class="bar" style="width:{share}"></span> <small>{length}</small></div></div>'
    )
    return f'<div><h3>{escape(heading)}</h3><div class="shapes">{shapes}</div>{bar}</div>' if shapes else ""


def pair(left: Picture, right: Picture, *, views: Sequence[View], caption: str) -> str:
    """Return two shapes side by side, with one caption."""
    both = picture(left, views=views) + picture(right, views=views)
    return f'<figure class="pair">{both}<figcaption>{escape(caption)}</figcaption></figure>'


def paragraph(text: str, *, style: str = "") -> str:
    """Return a paragraph; `style` is a class of the page's style sheet."""
    return f'<p class="{escape(style)}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def folded(summary: str, body: str, *, is_open: bool = False) -> str:
    """Return a part that opens on demand, by mouse or by keyboard."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{body}</details>" if body else ""


def code(text: str) -> str:
    """Return preformatted text."""
    return f'<pre tabindex="0">{escape(text)}</pre>'


def listing(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, most: int = 1000) -> str:
    """Return a plain table of text, at most `most` rows of it; a `Link` in a cell becomes a link."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows[:most]
    )
    rest = paragraph(f"{len(rows) - most} more are not shown.", style="note") if len(rows) > most else ""
    return (
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{rest}"
    )


class Link(str):
    """A path, relative to the page, that a cell links to; its text is the path."""

    __slots__ = ()


def _cell(text: str) -> str:
    if not isinstance(text, Link):
        return escape(text)
    from urllib.parse import quote

    return f'<a href="{quote(text)}">{escape(text)}</a>'


def flat_facts(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested JSON into (path, text) pairs."""
    flat: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            flat += flat_facts(value, f"{name} › ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            simple = len(value) <= 8 and not any(isinstance(each, Mapping | list) for each in value)
            flat.append((name, ", ".join(map(_plain, value)) if simple else f"{len(value)} entries"))
        else:
            flat.append((name, _plain(value)))
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, int | float) else str(value)
