"""SAC held against its authors' code on the same models (Guan et al., NeurIPS 2022; github.com/guanjiyang/SAC).

    uapfp evaluate --preset digits --storage results
    python jobs/original_sac.py --checkout SAC --preset digits --storage results --report original-sac.json

Their functions get the responses of every judged model to the victim's natural errors: logits, which their nets give,
probabilities, and labels, as their `cal_cor_onehot` has them. Ours get what an API gives: probabilities and labels.
"""

import importlib.util
import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Annotated

import torch
import tyro
from torch import Tensor

from uapfp_dist.command import main
from uapfp_dist.config.runtime import FilesConfig, resolve
from uapfp_dist.errors import UserError
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.fingerprints.blocks import NATURAL
from uapfp_dist.fingerprints.methods.base import Candidate, Request
from uapfp_dist.fingerprints.methods.sample_correlation import SampleCorrelation
from uapfp_dist.fingerprints.resamples import TrainingSet
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.launch.report_file import check_report, write_report
from uapfp_dist.launch.transfer import read_side, without
from uapfp_dist.models.blackbox import batched_outputs
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.statistics.auc import auc
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.members import STOLEN_ROLES, Role

FILE = "correlation_wrong.py"
NEEDED = ("correlation", "output_to_label", "calculate_auc")
IMPORTED = {"dataset": ("dataset1", "dataset4"), "model_load": ("load_model",)}
"""Modules of theirs that `FILE` imports, and names that it takes from them: they read files that nobody has."""
GROUPS = (Role.HOMOLOGOUS, Role.SAME_DATA, Role.OTHER_VICTIM_PIRACY, Role.SIBLING_PIRACY)


@dataclass(frozen=True)
class OriginalSac:
    """Compare on a finished evaluation."""

    checkout: Path
    """Folder of their repository."""
    preset: str = "digits"
    """Of the evaluation."""
    seed: int = 0
    """Of the evaluation."""
    files: Annotated[FilesConfig, tyro.conf.arg(name="")] = field(default_factory=FilesConfig)


@dataclass(frozen=True)
class Compared:
    """One form of responses; the keys are groups of negatives."""

    form: str
    theirs: dict[str, float]
    """AUC of stolen models by their distance and their `calculate_auc`."""
    ours: dict[str, float]
    """AUC by our score; empty for logits, which few APIs give."""
    largest_gap: float
    """Between their distances and ours, over all models, once theirs are divided by `factor`; NaN for logits."""
    factor: float = math.nan
    """By which their distances are smaller: .5 for probabilities, as they halve 1 - cosine."""


@dataclass(frozen=True)
class Comparison:
    """What came of all forms."""

    preset: str
    seed: int
    models: int
    images: int
    stolen: int
    rows: tuple[Compared, ...]
    missing: dict[str, int] = field(default_factory=dict)
    """Role to the number of its models that have not answered, and are in no number."""


def load_theirs(checkout: Path) -> ModuleType:
    """Their module, without what it reads on import.

    Raises:
        UserError: no such file, or other functions.
    """
    path = checkout / FILE
    if not path.is_file():
        raise UserError(
            f"checkout: expected {FILE} in {checkout}, found none; name a copy of github.com/guanjiyang/SAC"
        )
    for name, attributes in IMPORTED.items():
        sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(sys.modules[name], attribute, None)
    spec = importlib.util.spec_from_file_location("original_sac_authors", path)
    assert spec is not None
    assert spec.loader is not None
    module, environment = importlib.util.module_from_spec(spec), dict(os.environ)
    try:
        spec.loader.exec_module(module)  # it chooses a GPU through the environment
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for name in IMPORTED:
            del sys.modules[name]
    if lacking := [name for name in NEEDED if not hasattr(module, name)]:
        raise UserError(f"checkout: expected {', '.join(NEEDED)} in {path}, {', '.join(lacking)} is not there")
    return module


def their_distances(theirs: ModuleType, responses: Tensor) -> Tensor:
    """(M,) distances of every model from the first, as their `cal_correlation` computes them."""
    matrices = [theirs.correlation(one, one) for one in responses]
    n = matrices[0].shape[0] * matrices[0].shape[1]
    return torch.stack([torch.sum(torch.abs(one - matrices[0])) / n for one in matrices])


def compare(chosen: OriginalSac) -> Comparison:
    """All forms of responses on one evaluation."""
    theirs = load_theirs(chosen.checkout.expanduser())
    paths = resolve(chosen.files.runtime)
    side = read_side(chosen.preset, chosen.seed, None, paths)
    context = TaskContext(Store(paths.storage), paths.data_root, torch.device("cpu"))
    images = context.probe(side.plan.probe).natural[: side.matrix.n_query_images(NATURAL)]
    nets = (context.net(member.spec) for member in side.matrix.members)
    logits = torch.stack([batched_outputs(net, images, "forward") for net in nets])
    rows, n_stolen = compare_forms(theirs, side.matrix, logits)
    return Comparison(chosen.preset, chosen.seed, len(logits), len(images), n_stolen, rows, dict(side.missing))


def compare_forms(theirs: ModuleType, matrix: ResponseMatrix, logits: Tensor) -> tuple[tuple[Compared, ...], int]:
    """Every form of responses, and the number of stolen models.

    Args:
        theirs: from `load_theirs`.
        matrix: responses of M models.
        logits: (M, n, C) of the same to the natural errors that a suspect is sent.
    """
    rows: dict[str, list[int]] = {}
    for i, member in enumerate(matrix.members):
        rows.setdefault(member.role, []).append(i)
    stolen = [i for role in STOLEN_ROLES for i in rows.get(role, [])]
    groups = {str(role): rows[role] for role in GROUPS if role in rows}

    def row(form: str, responses: Tensor, fmt: ResponseFormat | None) -> Compared:
        distances = their_distances(theirs, responses).double()
        found = {
            name: float(theirs.calculate_auc(distances[stolen].tolist(), distances[negatives].tolist()))
            for name, negatives in groups.items()
        }
        if fmt is None:
            return Compared(form, found, {}, math.nan)
        request = Request(matrix, Candidate((NATURAL,), fmt), (TrainingSet((), ()),))
        ours = -SampleCorrelation().score(request)[0, :, 0].double()
        shrunk = float(distances @ ours / (ours @ ours).clamp_min(1e-12))
        gap = float((distances / shrunk - ours).abs().max())
        areas = {name: auc(-ours[stolen], -ours[negatives]) for name, negatives in groups.items()}
        return Compared(form, found, areas, gap, shrunk)

    softened = torch.stack([theirs.output_to_label(one) for one in logits])
    forms = (("logits", logits, None), ("probabilities", logits.softmax(2), PROBABILITIES), ("labels", softened, LABEL))
    return tuple(row(*form) for form in forms), len(stolen)


def text(found: Comparison) -> str:
    """The comparison as lines."""
    lines = [
        f"{found.preset}, seed {found.seed}: {found.models} models, {found.stolen} stolen, {found.images} natural "
        "errors; AUC theirs / ours"
    ]
    lines += [f"  {without(found.missing)}"] if found.missing else []
    for row in found.rows:
        cells = [
            f"{name} {area:.3f} / {f'{row.ours[name]:.3f}' if row.ours else '-'}" for name, area in row.theirs.items()
        ]
        lines.append(f"  {row.form:14} {'; '.join(cells)}; distances x {row.factor:.3f}, gap {row.largest_gap:.0e}")
    return "\n".join(lines)


def run() -> None:
    """Compare, print, write."""
    torch.set_num_threads(1)
    chosen = tyro.cli(OriginalSac, description=__doc__)
    report = resolve(chosen.files.runtime).report
    check_report(report)
    found = compare(chosen)
    print(text(found))
    write_report(report, found)


if __name__ == "__main__":
    main(run)
