"""A report as one self-contained HTML page: no scripts, nothing loaded from elsewhere, all text escaped."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from numbers import Real

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from uapfp_dist.reporting.model_names import NEGATIVES, ROLES
from uapfp_dist.reporting.number_format import cell, with_intervals

LONG = 20
"""Tables with more rows are folded."""

LONG_FACT = 400
"""Characters; a fact of more is folded."""

MAX_SVG = 200_000
"""Bytes. A drawing with more (thousands of marks) becomes a PNG."""

CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""A second line of defence: nothing runs or loads even where escaping fails."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5b6068; --line: #d9dce1; --page: #fff; --card: #f5f6f8;
  --accent: #00598c; --note: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a3a9b3; --line: #3a3f47; --page: #15171a;
  --card: #1f2226; --accent: #7cc4f0; --note: #f0b35e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
a { color: var(--accent); }
p, .remarks, section > ul { max-width: 46rem; }
.headlines { list-style: none; margin: 0 0 1.5rem; padding: .75rem 1rem; background: var(--card);
  border-left: 4px solid var(--accent); }
.headlines li { margin: .3rem 0; line-height: 1.4; font-size: .95rem; }
.headlines li:first-child { font-size: 1.15rem; margin-bottom: .7rem; }
.headlines strong { font-weight: 600; }
.facts { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .15rem 1rem; margin: 0 0 1.5rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; min-width: 0; }
.facts details { margin: 0; }
pre { margin: 0; font-size: clamp(.5rem, 2.4vw, .8rem); line-height: 1.35; white-space: pre-wrap; }
pre span { display: block; padding-left: 2ch; text-indent: -2ch; }
@media (max-width: 30rem) { .facts { display: block; } .facts dd { margin-bottom: .4rem; }
  td:last-child:not(.number) { min-width: 14rem; } }
header + main > section:first-child > h2 { margin-top: 1.25rem; }
nav ol { columns: 18rem; margin: .25rem 0 0; padding-left: 1.5rem; }
.remarks { padding: 0; list-style: none; }
.remarks li { margin: .35rem 0; padding-left: .75rem; border-left: 3px solid var(--note); }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35; overflow-wrap: normal; }
caption, figcaption { text-align: left; color: var(--soft); font-size: .875rem; padding-bottom: .3rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
tbody th { font-weight: 500; }
td, tbody th { max-width: 24rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); }
.fold { margin: 0; border-top: 1px solid var(--line); }
.fold > summary { padding: .5rem 0; }
.fold > summary h2 { display: inline; font-size: 1.05rem; margin: 0; padding: 0; border: 0; }
.fold > summary span { color: var(--soft); font-size: .875rem; margin-left: .5rem; }
.fold[open] { padding-bottom: 1.5rem; }
figure { margin: 1rem 0 1.5rem; }
figure img { display: block; background: #fff; max-width: none; height: auto; border-radius: 3px; padding: .35rem;
  width: max(100%, min(34rem, .85 * var(--wide))); }
.frame { overflow-x: auto; max-width: var(--wide); }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .scroll, .frame { overflow: visible; }
  figure, tr, .headlines { break-inside: avoid; } h2, caption, figcaption { break-after: avoid; }
  pre { font-size: 7pt; } figure img { width: 100%; }
  table { font-size: 7pt; overflow-wrap: anywhere; } .number { white-space: normal; }
  th, td { padding: .15rem .3rem; } thead th { overflow-wrap: normal; } .fold > summary { list-style: none; }
  nav { display: none; } details::details-content { content-visibility: visible; } }
"""


@dataclass(frozen=True)
class HtmlSection:
    """A section of the page: text, facts, tables and figures."""

    title: str
    text: str = ""
    """Paragraphs, separated by an empty line; what stands between backticks is set as code."""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Caption to table; underscores in a caption are read as blanks."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """Caption to figure; the caption is also the alternative text."""
    remarks: Sequence[str] = ()
    """Highlighted lines."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Name to value."""
    points: Sequence[str] = ()
    """A list below the text."""
    question: str = ""
    """What the section answers: it is folded under this line. Empty: it is open."""
    verbatim: Sequence[str] = ()
    """Names that keep their underscores in captions."""


def html_report(
    title: str, facts: Mapping[str, str], sections: Sequence[HtmlSection], *, headlines: Sequence[tuple[str, str]] = ()
) -> str:
    """One self-contained page.

    Args:
        title: of the page.
        facts: name to value, in the order they are shown; lines of a value are kept, one of more than LONG_FACT
            characters is folded.
        sections: in order; their titles are the table of contents, where none is folded.
        headlines: lines above everything else, the first part of each in bold.

    Returns:
        HTML of which nothing is loaded from elsewhere: figures are data, as SVG (as PNG where that is smaller).
    """
    names = [f"section-{i}" for i in range(1, len(sections) + 1)]
    lines = "".join(f"<li><strong>{escape(begin)}</strong> {escape(rest)}</li>" for begin, rest in headlines)
    folded = any(section.question for section in sections)
    links = "".join(
        f'<li><a href="#{name}">{escape(section.title)}</a></li>'
        for name, section in zip(names, sections, strict=True)
        if not folded and len(sections) > 1
    )
    parts = [
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{escape(title)}</h1>',
        f'<ul class="headlines">{lines}</ul>' if lines else "",
        _facts(facts),
        "</header>",
        f'<nav aria-label="Contents"><strong>Contents</strong><ol>{links}</ol></nav>' if links else "",
        "<main>",
        *(_section(name, section) for name, section in zip(names, sections, strict=True)),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _facts(facts: Mapping[str, str]) -> str:
    terms = "".join(f"<dt>{escape(key)}</dt><dd>{_fact(str(value))}</dd>" for key, value in facts.items())
    return f'<dl class="facts">{terms}</dl>' if terms else ""


def _fact(value: str) -> str:
    """Several lines are preformatted, each wrapped where it is too wide; a single long one is folded."""
    if "\n" in value:
        return f"<pre>{''.join(f'<span>{escape(line)}</span>' for line in value.splitlines(keepends=True))}</pre>"
    return f"<details><summary>show</summary>{escape(value)}</details>" if len(value) > LONG_FACT else escape(value)


def _section(name: str, section: HtmlSection) -> str:
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", section.text) if p.strip()]
    points = "".join(f"<li>{_prose(point)}</li>" for point in section.points)
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in section.remarks)
    heading = f'<h2 id="{name}-title">{escape(section.question or section.title)}</h2>'
    parts = [
        f'<section id="{name}" aria-labelledby="{name}-title">',
        f'<details class="fold"><summary>{heading} <span>{escape(section.title)}</span></summary>'
        if section.question
        else heading,
        *(f"<p>{_prose(paragraph)}</p>" for paragraph in paragraphs),
        f"<ul>{points}</ul>" if points else "",
        f'<ul class="remarks">{remarks}</ul>' if remarks else "",
        _facts(section.facts),
        *(_figure(_display_name(name, section.verbatim), figure) for name, figure in section.figures.items()),
        *(_table(_display_name(name, section.verbatim), table) for name, table in section.tables.items()),
        "</details>" if section.question else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _display_name(name: object, verbatim: Sequence[str] = ()) -> str:
    """Underscores read as blanks, but for those of `verbatim` names; escaped."""
    kept = "|".join(re.escape(one) for one in verbatim if one)
    parts = re.split(f"({kept})", str(name)) if kept else [str(name)]
    return escape("".join(part if i % 2 else part.replace("_", " ") for i, part in enumerate(parts)))


def _figure(text: str, figure: Figure) -> str:
    """As wide as it was drawn; on a narrow screen it scrolls before its text becomes too small to read."""
    kind, data = _picture(figure)
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    wide = f"{figure.get_size_inches()[0] * 1.25:.2f}in"
    return (
        f'<figure style="--wide: {wide}"><figcaption>{text}</figcaption><div class="frame" tabindex="0" role="group" '
        f'aria-label="{text}"><img alt="{text}" src="{source}"></div></figure>'
    )


def _picture(figure: Figure) -> tuple[str, bytes]:
    """(media type, bytes), the same for the same figure: no date, no random identifiers."""
    drawn = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "uapfp", "svg.fonttype": "path"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    if len(drawn.getvalue()) <= MAX_SVG:
        return "image/svg+xml", drawn.getvalue()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    return "image/png", drawn.getvalue()


def _table(text: str, table: pd.DataFrame) -> str:
    shown = with_intervals(table)
    numeric = [_numeric(table[c]) for c in shown.columns]
    # A row is named by its first column unless that is a number.
    named = bool(numeric) and not numeric[0]
    head = "".join(_cell("th", _display_name(c), n, "col") for c, n in zip(shown.columns, numeric, strict=True))
    rows = []
    for values in shown.itertuples(index=False, name=None):
        said = [_words(column, value) for column, value in zip(shown.columns, values, strict=True)]
        cells = [
            _cell("th" if named and i == 0 else "td", escape(cell(value)), n, "row" if named and i == 0 else None)
            for i, (value, n) in enumerate(zip(said, numeric, strict=True))
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    body = (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{text}">\n<table><caption>{text}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>"
    )
    if len(rows) <= LONG:
        return body
    return f"<details><summary>{text} ({len(rows):,} rows)</summary>\n{body}\n</details>"


def _words(column: object, value: object) -> object:
    """A role or a group of models as a reader calls it."""
    names = {"role": ROLES, "group": NEGATIVES}.get(str(column), {})
    return names.get(value, value) if isinstance(value, str) else value


def _numeric(column: pd.Series) -> bool:
    values = column.dropna()
    return len(values) > 0 and all(isinstance(value, Real) and not isinstance(value, bool) for value in values)


def _cell(tag: str, text: str, numeric: bool, scope: str | None) -> str:
    kind = ' class="number"' if numeric else ""
    return f"<{tag}{kind}{f' scope={chr(34)}{scope}{chr(34)}' if scope else ''}>{text}</{tag}>"
