"""The page: well-formed, loads nothing, believes no name, says numbers as people do."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from uapfp_dist.reporting.html import LONG, MAX_SVG, STYLE, HtmlSection, html_report
from uapfp_dist.reporting.number_format import NOT_MEASURED, cell, interval, with_intervals

HOSTILE = "</td><script>alert('x')</script><img src=http://evil.example/p.png onerror=\"go()\"> & $\\frac{$"
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Reads a page and complains of tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> in the wrong place"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def drawing(n: int = 5, name: str = "x") -> Figure:
    """A line of n points."""
    figure = Figure(figsize=(3, 2), layout="constrained")
    axis = figure.subplots()
    axis.plot(np.arange(n), np.sin(np.arange(n)), "o")
    axis.set_title(name, parse_math=False)
    return figure


def report(**changes: object) -> str:
    """A page with one of everything, every name of it hostile."""
    table = pd.DataFrame(
        {HOSTILE: [HOSTILE, "b"], "auc": [0.9312, 0.5], "auc_low": [0.9, 0.4], "auc_high": [0.96, 0.6]}
    )
    section = HtmlSection(
        HOSTILE, f"{HOSTILE}\n\nsecond", {HOSTILE: table}, {HOSTILE: drawing(name=HOSTILE)}, [HOSTILE], points=[HOSTILE]
    )
    arguments = {
        "title": HOSTILE,
        "facts": {HOSTILE: HOSTILE},
        "sections": [section, HtmlSection("another")],
        "headlines": [(HOSTILE, HOSTILE)],
    } | changes
    return html_report(**arguments)  # type: ignore[arg-type]


def test_tags_match() -> None:
    page = Page(report())
    assert [tag for tag, _ in page.tags][:4] == ["html", "head", "meta", "title"]
    assert {"main", "nav", "section", "figure", "table", "caption"} <= {tag for tag, _ in page.tags}


@pytest.mark.parametrize("text", ["<p>", "<p></b></p>", "</p>", '<p class="a" class="b"></p>'])
def test_the_reader_of_tags_can_fail(text: str) -> None:
    with pytest.raises(AssertionError):
        Page(text)


def test_names_are_text_and_nothing_else() -> None:
    page = Page(report())
    assert {"script", "iframe", "object", "form", "base"}.isdisjoint(tag for tag, _ in page.tags)
    # Title, headline, fact: twice; contents, heading, paragraph, point, remark, figure, table: caption, column, row.
    assert page.text.count(HOSTILE) == 15
    assert not [a for _, a in page.tags if any(key.startswith("on") for key in a)]
    assert all(image["alt"] == HOSTILE for image in page.all("img"))


def test_backticks_become_code() -> None:
    """In prose alone, and what stands between them is escaped."""
    page = report(sections=[HtmlSection("a `b`", "say `<i>` `", points=["`c`"])])
    assert page.count("<code>") == 2
    assert "<p>say <code>&lt;i&gt;</code> `</p>" in page
    assert "<li><code>c</code></li>" in page


def test_nothing_is_loaded() -> None:
    """Neither by an attribute, nor by the style, nor from inside a drawing; and the page forbids it to the browser."""
    text = report()
    page = Page(text)
    loaded = [a[key] or "" for _, a in page.tags for key in ("src", "href", "srcset", "poster", "data") if key in a]
    assert loaded
    assert all(target.startswith(("data:", "#")) for target in loaded)
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    assert not re.search(r"url\(|@import|http", style[1])
    for image in page.all("img"):
        drawn = base64.b64decode((image["src"] or "").split(",", 1)[1])
        inside = ElementTree.fromstring(drawn)
        links = [v for node in inside.iter() for key, v in node.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_contents_lead_to_the_sections() -> None:
    page = Page(html_report("t", {}, [HtmlSection("one"), HtmlSection("one"), HtmlSection("two")]))
    targets = [a["href"] for a in page.all("a")]
    assert targets == [f"#{section['id']}" for section in page.all("section")]
    assert len(set(targets)) == 3


def test_the_verdict_comes_first() -> None:
    text = Page(report(title="t", headlines=[("the verdict", "its numbers")], facts={"wall time": "3 min"})).text
    assert text.index("the verdict") < text.index("3 min") < text.index("Contents")


def test_facts_keep_their_lines_and_fold_when_long() -> None:
    text = html_report("t", {"table": "a  b\n1  2", "long": "x" * 999, "short": "y"}, [])
    assert "<pre><span>a  b\n</span><span>1  2</span></pre>" in text
    page = Page(text)
    assert "a  b\n1  2" in page.text
    assert len(page.all("details")) == 1


def test_preformatted_lines_wrap() -> None:
    """On a narrow screen and in print nothing is cut and nothing scrolls sideways; continued lines are indented."""
    pre = re.search(r"^pre \{(.*?)\}", STYLE, re.M)
    line = re.search(r"^pre span \{(.*?)\}", STYLE, re.M)
    assert pre
    assert line
    assert "white-space: pre-wrap" in pre[1]
    assert "overflow" not in pre[1], "inherits `overflow-wrap: anywhere` of the body and shows what it holds"
    assert {"display: block", "padding-left: 2ch", "text-indent: -2ch"} <= set(line[1].strip(" ;").split("; "))
    assert re.search(r"body \{[^}]*overflow-wrap: anywhere", STYLE)
    assert "nowrap" not in pre[1]


def test_tables_can_be_read_aloud() -> None:
    page = Page(report())
    assert [a.get("scope") for a in page.all("th")] == ["col", "col", "row", "row"]
    assert len(page.all("caption")) == 1
    assert all(a.get("tabindex") == "0" for a in page.all("div")), "what scrolls can be scrolled by keys"
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize(("rows", "folded"), [(LONG, 0), (LONG + 1, 1)])
def test_long_tables_are_folded(rows: int, folded: int) -> None:
    page = Page(html_report("t", {}, [HtmlSection("s", tables={"many": pd.DataFrame({"a": range(rows)})})]))
    assert len(page.all("details")) == len(page.all("summary")) == folded
    assert len(page.all("tr")) == rows + 1


def test_a_section_with_a_question_is_folded_under_it() -> None:
    """Closed, its heading in the line that opens it; no list of contents repeats the questions."""
    folded = HtmlSection("Figure 1", "text", facts={"seed": "0"}, question=f"why? {HOSTILE}")
    page = Page(html_report("t", {}, [HtmlSection("open"), folded]))
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2", "details", "summary", "dl")] == [
        "h1", "h2", "details", "summary", "h2", "dl",
    ]  # fmt: skip
    assert page.all("details") == [{"class": "fold"}]
    assert page.text.count(HOSTILE) == 1
    assert page.text.index("why?") < page.text.index("Figure 1") < page.text.index("text") < page.text.index("seed")
    assert not page.all("nav")
    labels = [section["aria-labelledby"] for section in page.all("section")]
    assert [heading["id"] for heading in page.all("h2")] == labels


def test_an_empty_page_is_a_page() -> None:
    tables = {"none": pd.DataFrame(), "columns": pd.DataFrame({"a": []}), "unmeasured": pd.DataFrame({"a": [None]})}
    page = Page(html_report("", {}, [HtmlSection("s", tables=tables)]))
    assert len(page.all("table")) == 3
    assert not Page(html_report("", {}, [])).all("nav")


def test_the_same_report_is_the_same_page() -> None:
    assert report() == report()


def test_twenty_figures_stay_small() -> None:
    """Drawings with thousands of marks become pictures, the others stay sharp."""
    few, many = drawing(), drawing(20_000)
    text = html_report("t", {}, [HtmlSection("s", figures={"few": few, "many": many})])
    kinds = [re.match("data:([^;]+)", image["src"] or "")[1] for image in Page(text).all("img")]  # type: ignore[index]
    assert kinds == ["image/svg+xml", "image/png"]
    assert len(text) < 2 * MAX_SVG
    assert 20 * 4 / 3 * MAX_SVG < 5.4e6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93151, "0.932"), (0.9, "0.900"), (0.99951, "1.00"), (12.345, "12.3"), (99.96, "100"), (1234.5, "1,234"),
        (1e-15, "1e-15"), (0.00012345, "0.00012"), (0.0, "0"), (-0.5, "-0.500"), (3.0, "3"), (3998, "3,998"),
        (np.float32(0.25), "0.250"), (np.int64(70_000), "70,000"), (True, "yes"), (np.bool_(False), "no"),
        (None, NOT_MEASURED), (float("nan"), NOT_MEASURED), (float("inf"), NOT_MEASURED), (pd.NA, NOT_MEASURED),
        ((), NOT_MEASURED), (("a", 0.5), "a, 0.500"),
        ("0.93151", "0.93151"),
    ],
)  # fmt: skip
def test_values_as_people_write_them(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.93, 0.9, 0.96), "0.93 [0.90, 0.96]"), ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((41.26, 26, 60), "41.3 [26, 60]"),
        ((0.93, None, 0.96), "0.930"), ((0.93, 0.9, float("nan")), "0.930"), (("a", 1, 2), "a"),
        ((None, None, None), NOT_MEASURED),
    ],
)  # fmt: skip
def test_intervals_as_people_write_them(values: tuple[object, object, object], text: str) -> None:
    assert interval(*values) == text


def test_intervals_join_their_column() -> None:
    table = pd.DataFrame({"m": ["uap"], "auc": [0.9], "low": [0.8], "high": [1.0], "n": [3], "gap_low": [1.0]})
    assert with_intervals(table).to_dict("records") == [
        {"m": "uap", "auc": "0.90 [0.80, 1.00]", "n": 3, "gap_low": 1.0}
    ]
    mean = pd.DataFrame({"mean": [0.5], "n": [3], "low": [0.4], "high": [0.6]})
    assert with_intervals(mean).to_dict("records") == [{"mean": "0.50 [0.40, 0.60]", "n": 3}]
    alone = pd.DataFrame({"low": [0.4], "high": [0.6]})
    assert with_intervals(alone).equals(alone)


def test_names_of_others_keep_their_underscores() -> None:
    """In captions, whose own names are read with blanks."""
    figures = {"Where one_nan<b> falls, by weighted_churn": drawing()}
    text = html_report("t", {}, [HtmlSection("s", figures=figures, verbatim=["one_nan<b>"])])
    assert "<figcaption>Where one_nan&lt;b&gt; falls, by weighted churn</figcaption>" in text
    assert "Where one nan&lt;b&gt; falls" in html_report("t", {}, [HtmlSection("s", figures=figures)])
