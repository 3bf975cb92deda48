"""What the READMEs promise: links lead somewhere, commands parse, code is what the tests run, numbers are measured."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest
from system import ROOT

from uapfp_dist.cli.subcommands import SUBCOMMANDS
from uapfp_dist.config.runtime import FilesConfig
from uapfp_dist.evaluation.judging import Group
from uapfp_dist.fingerprints.methods.registry import METHODS
from uapfp_dist.reporting.report_schema import EvaluationReport, read_report
from uapfp_dist.results.kits import kit_power_section, read_rates
from uapfp_dist.serialization import from_json
from uapfp_dist.verification.enrollment.exact_power import ExactPower
from uapfp_dist.verification.reports.exact_rates import exact_rows

FRONT = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "tests" / "README.md", *sorted((ROOT / "uapfp_dist").rglob("README.md"))]
PAGES_AND_RESULTS = [*PAGES, ROOT / "jobs" / "results" / "README.md"]
RESULTS = ROOT / "jobs" / "results"


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_front_page_fits_a_person() -> None:
    lines = FRONT.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 100] == []


@pytest.mark.parametrize("page", PAGES_AND_RESULTS, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    anchors = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, flags=re.M)}
    for target in targets:
        assert "://" not in target
        if target.startswith("#"):
            assert target[1:] in anchors
        else:
            assert (page.parent / target.partition("#")[0]).exists(), target


def commands(page: Path) -> Iterator[str]:
    """Of blocks, and of code within a line."""
    text = page.read_text()
    for block in blocks(text, "sh"):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`((?:uapfp|python jobs/)[^`\n]+)`", text)
    if page.parent == RESULTS:
        yield from re.findall(r"\. `([^`]+)`$", text, flags=re.M)


@pytest.mark.parametrize("page", PAGES_AND_RESULTS, ids=name)
def test_commands_have_these_options(page: Path) -> None:
    """Each subcommand exists, and each option is one of its own."""
    for line in commands(page):
        for part in re.split(r"&&|;| -- ", line.partition(" #")[0]):
            words = shlex.split(part.strip())
            if words[:1] == ["python"] and words[1].startswith("jobs/"):
                assert (ROOT / words[1]).exists(), part
                if words[1] in (
                    "jobs/original_sac.py",
                    "jobs/public_ipguard.py",
                    "jobs/submit.py",
                    "jobs/train_to_end.py",
                ):  # no subcommand
                    fields_of_job = re.findall(r"^    (\w+): ", (ROOT / words[1]).read_text(), flags=re.M)
                    known = {name.replace("_", "-") for name in fields_of_job}
                    known |= {field.name.replace("_", "-") for field in fields(FilesConfig)}
                    assert {word[2:] for word in words[2:] if word.startswith("--")} <= known, part
                    continue
                scripts = {"full_eval": "evaluate", "ablations": "ablate"}
                words = ["uapfp", scripts.get(Path(words[1]).stem, Path(words[1]).stem), *words[2:]]
            if words[:1] != ["uapfp"] or len(words) == 1 or words[1].startswith("-") or not words[1].islower():
                continue
            assert words[1] in SUBCOMMANDS, part
            command = import_module(SUBCOMMANDS[words[1]].module).COMMAND
            known = {spelling for o in command.options_from(command.default(words)) for spelling in o.spellings}
            given = {word.partition("=")[0].replace("_", "-") for word in words[2:] if word.startswith("--")}
            assert given <= known | {"--help", "--help-all"}, part


def test_the_code_is_what_the_tests_run() -> None:
    """`test_api_notebook.py` runs these files."""
    support = ROOT / "tests" / "support"
    assert blocks(FRONT, "python") == [(support / "notebook.py").read_text()]
    kits = (ROOT / "uapfp_dist" / "verification" / "README.md").read_text()
    assert blocks(kits, "python") == [(support / "notebook_kit.py").read_text()]


def test_every_method_is_explained() -> None:
    text = (ROOT / "uapfp_dist" / "fingerprints" / "methods" / "README.md").read_text()
    assert [method for method in METHODS if f"`{method}`" not in text] == []


def report(file: str) -> EvaluationReport:
    return read_report(json.loads((RESULTS / file).read_text()))


def over_seeds(*cells: tuple[str, str]) -> str:
    """Lowest to highest AUC against models stolen from siblings, by preset and method."""

    def span(preset: str, method: str) -> str:
        found = [report(f"{preset}-{seed}.json").auc[method]["chosen"]["sibling"] for seed in range(5)]
        return f"{min(found):.2f} to {max(found):.2f}"

    return " / ".join(span(*cell) for cell in cells)


def adversarial(found: EvaluationReport, role: str) -> str:
    """Mean similarity after 120 iterations, by own and by true labels."""
    rows = {r.labels: r for r in found.sections.adversarial or () if (r.role, r.iterations) == (role, 120)}
    return " / ".join(f"{rows[labels].similarity:.2f}" for labels in ("own", "true"))


GROUPS: tuple[Group, ...] = ("homologous", "other_victim", "sibling")
HEADLINE = {"uap_paper": "prob", "clean": "prob", "ipguard_tuned": "chosen", "weighted_churn": "chosen"}
"""Method to the format of its row."""


def areas(methods: dict[str, str], *found: EvaluationReport) -> list[str]:
    """AUC of methods, in these formats, against independent models, models stolen from another victim and siblings.

    Of several reports the means.
    """
    rows = [
        [sum(one.auc[method][fmt][group] for one in found) / len(found) for group in GROUPS]
        for method, fmt in methods.items()
    ]
    return [" / ".join(f"{area:.2f}" for area in row) for row in rows]


def cifar10_rows() -> list[str]:
    """Of two victims, and one UAP on copies of the first that were stopped at the paper's recovery."""
    found = report("cifar10-small-0.json")
    (stopped,) = [r for r in found.sections.recovery_methods or () if (r.method, r.level) == ("uap_paper", 0.83)]
    of_stopped = " / ".join(f"{getattr(stopped, f'auc_{group}'):.2f}" for group in GROUPS)
    return [*areas(HEADLINE, found, report("cifar10-small-24-1.json")), of_stopped]


def test_the_numbers_of_the_front_page_are_those_of_the_reports() -> None:
    fashion_mnist = [report(f"fashion_mnist-small-{seed}.json") for seed in range(3)]
    beside = {n.quantity: n.ours for n in fashion_mnist[0].sections.beside_paper or ()}
    power = "\n".join(
        kit_power_section([("100", read_rates(json.loads((RESULTS / "kit-power-digits-11-20-100.json").read_text())))])
    )
    found = from_json(list[ExactPower], json.loads((RESULTS / "exact-power-digits-31-36.json").read_text()))
    learned = "\n".join(exact_rows([one for one in found if one.stolen_each and one.n_points == 100]))
    (exact,) = re.findall(r"a player\) \| (.*?\]) \(", learned)
    exact = re.sub(r"(\d\.\d{3})", lambda number: f"{float(number.group()):.2f}", exact)
    (stolen,) = re.findall(r"\*\*stolen\*\* \| (.*?) \(", power)
    expected = [
        *areas(HEADLINE, *fashion_mnist),
        f"{beside['least similarity, fine-tuned, pruned or INT8']:.2f}",
        *(adversarial(fashion_mnist[0], role) for role in ("piracy", "homologous")),
        *cifar10_rows(),
        *areas({"uap_paper": "prob", "random_paper": "prob"}, report("tiny_imagenet-small-0.json")),
        over_seeds(("digits-large", "uap_probe"), ("digits-large", "random_probe")),
        over_seeds(("digits", "uap_probe"), ("digits", "random_probe")),
        over_seeds(("digits-large", "weighted_churn"), ("digits", "weighted_churn")),
        stolen,
        exact,
    ]
    rows = re.findall(r"^\| .* \| .* \| (.*) \|$", FRONT, flags=re.M)
    assert rows == expected
