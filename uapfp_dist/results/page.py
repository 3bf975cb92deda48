"""The page of a folder of results."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.judging import Group
from uapfp_dist.reporting.model_names import COLUMNS
from uapfp_dist.reporting.over_seeds import seeds_figure
from uapfp_dist.results.deaths import Deaths, deaths_section
from uapfp_dist.results.driver import DriverScale, driver_section
from uapfp_dist.results.evaluations import evaluation_section, lineage_section, seeds_section, setting
from uapfp_dist.results.headline import headline_figure, headline_section
from uapfp_dist.results.index import INDEX, Measurement, Results, read_results
from uapfp_dist.results.kits import kit_power_section, kit_robustness_section, read_rates
from uapfp_dist.results.markdown import details, table
from uapfp_dist.serialization import from_json
from uapfp_dist.verification.enrollment.exact_power import ExactPower
from uapfp_dist.verification.reports.exact_rates import exact_rows
from uapfp_dist.verification.reports.rates_over_zoos import what_varies
from uapfp_dist.verification.robustness.judged import read_judged

PAGE = "README.md"
"""The page, beside the index."""
HEADLINE = "headline.png"
"""The picture of the paper's headline, drawn with the page."""


@dataclass(frozen=True)
class _Precisions:
    seeds: tuple[int, ...]
    auc: dict[str, dict[str, dict[str, tuple[float, ...]]]]
    """Precision, method and group to the AUC of each seed."""


@dataclass(frozen=True)
class _Benchmark:
    driver: DriverScale


def write_page(folder: Path) -> Path:
    """Write the page of `folder` into it, and the pictures that are drawn from its reports.

    Raises:
        UserError: its index or a file is missing or broken, or the folder cannot be written.
    """
    path, results = folder / PAGE, read_results(folder)
    text, drawn = page(results), _drawn_by(results)
    try:
        path.write_text(text)
        for name, measurement in drawn.items():
            draw = headline_figure if measurement.kind == "headline" else seeds_figure
            draw(list(results.reports(measurement))).savefig(folder / name)
    except OSError as error:
        raise UserError(f"folder: expected {path} to be writable ({error.strerror})", argument="folder") from error
    return path


def _drawn(results: Results, measurement: Measurement) -> str | None:
    """The picture that is drawn with the page, if there is one."""
    if measurement.kind == "headline":
        return HEADLINE
    if measurement.kind == "seeds" and measurement.files[1:]:
        first = next(results.reports(measurement))
        return f"{first.preset or first.data.name}_seeds.png"
    return None


def _drawn_by(results: Results) -> dict[str, Measurement]:
    """Every such picture's measurement.

    Raises:
        UserError: two of them would overwrite each other's.
    """
    found: dict[str, Measurement] = {}
    for measurement in results.measurements:
        name = _drawn(results, measurement)
        if name in found:
            raise UserError(
                f"{results.folder / INDEX}: expected one measurement of kind {measurement.kind} whose picture is "
                f"{name}, got {found[name].title} and {measurement.title}; leave one out",
                argument="folder",
            )
        if name:
            found[name] = measurement
    return found


def page(results: Results) -> str:
    """Markdown: a section per measurement, in the order of the index."""
    lines = ["# Results", "", results.introduction, ""]
    lines += [f"- [{m.title}](#{_anchor(m.title)})" for m in results.measurements]
    for measurement in results.measurements:
        lines += ["", *_section(results, measurement)]
    return "\n".join(lines) + "\n"


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


def _section(results: Results, measurement: Measurement) -> Iterator[str]:
    yield f"## {measurement.title}"
    yield ""
    if measurement.summary:
        yield from (measurement.summary, "")
    yield f"{measurement.date}; {measurement.hardware}. `{measurement.command}`"
    for block in _blocks(results, measurement):
        yield from ("", block)
    for picture in measurement.pictures:
        yield from ("", f"![{picture.alt}]({picture.file})")
    if measurement.disclosures:
        yield from ("", "What to know before trusting it:", "")
        yield from (f"- {line}" for line in measurement.disclosures)
    if measurement.files:
        yield from ("", "Files: " + ", ".join(f"[{name}]({name})" for name in measurement.files) + ".")


def _blocks(results: Results, measurement: Measurement) -> Iterator[str]:
    kind = measurement.kind
    if kind == "headline":
        yield f"![AUC of methods against each group of negatives on every data set, beside the paper's]({HEADLINE})"
        yield from headline_section(list(results.reports(measurement)))
    elif kind in ("seeds", "evaluation", "lineage"):
        reports = list(results.reports(measurement))
        yield setting(reports)
        if kind == "evaluation":
            yield from evaluation_section(reports[0])
        else:
            if name := _drawn(results, measurement):
                yield f"![AUC of methods against each group of negatives, a mark for each zoo]({name})"
            yield from seeds_section(reports) if kind == "seeds" else lineage_section(reports)
    elif kind != "numbers":
        try:
            yield from _file_blocks(results, measurement)
        except ValueError as error:
            raise UserError(f"{results.folder}: expected files of {kind} in {measurement.files} ({error})") from error
    if measurement.rows:
        yield table(("what", "measured"), ((row.what, row.value) for row in measurement.rows))


def _file_blocks(results: Results, measurement: Measurement) -> Iterator[str]:
    if measurement.kind == "kit_power":
        rates = [read_rates(results.json(file)) for file in measurement.files]
        names = [f"at most {kits[0].queries} images" for kits in rates]
        yield from kit_power_section(list(zip(names, rates, strict=True)))
    elif measurement.kind == "kit_robustness":
        found = read_judged(results.json(measurement.files[0]))
        blocks = [f"{found.title}: accused at p up to {found.corrected_alpha:.3g}."] if found.title else []
        blocks += kit_robustness_section(found.judged, found.corrected_alpha)
        yield details(f"{len(found.judged)} models, by what was done to them", "\n\n".join(blocks))
    elif measurement.kind == "exact_power":
        powers = from_json(list[ExactPower], results.json(measurement.files[0]))
        yield "\n".join(exact_rows(powers))
        yield f"Intervals: {what_varies(len({one.seed for one in powers}))}."
    elif measurement.kind == "driver":
        yield from driver_section(from_json(_Benchmark, results.json(measurement.files[0])).driver)
    elif measurement.kind == "deaths":
        yield from deaths_section(from_json(Deaths, results.json(measurement.files[0])))
    else:
        yield _precision_table(from_json(_Precisions, results.json(measurement.files[0])))


def _precision_table(measured: _Precisions) -> str:
    groups: tuple[Group, ...] = ("homologous", "other_victim", "same_data")
    rows = []
    for method, by_group in measured.auc["float32"].items():
        cells = []
        for group in groups:
            gain = np.array(measured.auc["bfloat16"][method][group]) - np.array(by_group[group])
            cells.append(f"{gain.mean():+.3f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.3f}")
        rows.append((f"`{method}`", *cells))
    return table(("AUC in bfloat16 minus float32", *(COLUMNS[group] for group in groups)), rows)
