"""Figure 2: do the UAPs of a stolen model span the victim's subspace (Eq. 5)?"""

import math

import numpy as np
import pandas as pd
from torch import Tensor

from uapfp_dist.perturbations.subspace import energies, inconsist, principal_directions
from uapfp_dist.reporting import figures, number_format
from uapfp_dist.reporting.reference_schema import SubspaceNumbers
from uapfp_dist.reporting.section_schema import SectionNumbers
from uapfp_dist.reporting.sections.intervals import interval
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection

SHOWN_DIRECTIONS = 5


def subspaces(data: ReportData) -> ReportSection | None:
    """Figures 2a and 2b."""
    matrices = _matrices(data)
    if "victim" not in matrices or len(matrices) < 2:
        return None
    (victim,) = matrices["victim"].values()
    directions = principal_directions(victim)
    projections = {
        role: np.stack([energies(uaps, directions)[:SHOWN_DIRECTIONS].numpy() for uaps in found.values()])
        for role, found in matrices.items()
    }
    apart = {
        role: {model: inconsist(uaps, victim) for model, uaps in found.items()}
        for role, found in matrices.items()
        if role != "victim"
    }
    numbers = _numbers(data, len(directions), apart)
    ratio = number_format.interval(
        numbers.ratio_homologous_over_piracy,
        numbers.ratio_homologous_over_piracy_low,
        numbers.ratio_homologous_over_piracy_high,
    )
    config = data.plan.config.studies.subspace
    table = pd.DataFrame(
        [{"role": role, "model": model, "inconsist": value} for role, v in apart.items() for model, value in v.items()]
    )
    projected = pd.DataFrame(
        [
            {"role": role, "direction": k + 1, "mean": float(values[:, k].mean()), "std": float(values[:, k].std())}
            for role, values in projections.items()
            for k in range(values.shape[1])
        ]
    )
    return ReportSection(
        "fig2_subspace",
        "Figure 2: UAP subspaces and Inconsist (Eq. 5)",
        f"{config.n_uaps} UAPs of unit norm per model, fitted on {config.n_images} images. (a) mean squared projection "
        "on the victim's principal directions; (b) Inconsist of every model. The paper: 784 UAPs per model, 20 models, "
        f"Inconsist of independent models about 3 times that of stolen ones; here {ratio} (95 % bootstrap over models "
        "of both sides). "
        f"{_memory(numbers, matrices)}{data.setting}.",
        {"inconsist": table, "projections": projected},
        {
            "fig2a_projections": figures.fig2a_projections(projections),
            "fig2b_inconsist": figures.fig2b_inconsist({role: list(v.values()) for role, v in apart.items()}),
        },
        SectionNumbers(subspace=numbers),
    )


def _numbers(data: ReportData, rank: int, apart: dict[str, dict[str, float]]) -> SubspaceNumbers:
    """Means, ratio and memory of the starts; `apart` is role to model to its Inconsist."""
    config, cosines = data.plan.config.studies.subspace, _start_cosines(data)
    means = {role: float(np.mean(list(values.values()))) for role, values in apart.items()}
    known = {"piracy", "homologous"} <= means.keys()
    sides = [list(apart[role].values()) for role in ("homologous", "piracy")] if known else [[], []]
    low, high = interval(*sides, of=np.divide)
    return SubspaceNumbers(
        n_uaps=config.n_uaps,
        mean=means,
        ratio_homologous_over_piracy=means["homologous"] / means["piracy"] if known else math.nan,
        ratio_homologous_over_piracy_low=low,
        ratio_homologous_over_piracy_high=high,
        rank=rank,
        start_cosine=float(np.mean(cosines)) if len(cosines) else math.nan,
        forgotten=float(np.mean(cosines < config.largest_cosine)) if len(cosines) else math.nan,
    )


def _memory(numbers: SubspaceNumbers, matrices: dict[str, dict[str, Tensor]]) -> str:
    """How close the UAPs stayed to their random starts, which hold nothing of any model."""
    if math.isnan(numbers.start_cosine):
        return "How close the UAPs stayed to their random starts is not known. "
    d = next(iter(matrices["victim"].values())).shape[1]
    return (
        f"Mean cosine to the random start {numbers.start_cosine:.2f}; {numbers.forgotten:.0%} of the UAPs are below "
        f"the limit (of random vectors of {d} dimensions the standard deviation is {d**-0.5:.2f}). "
    )


def _start_cosines(data: ReportData) -> np.ndarray:
    """Of every UAP that was made; none where one of the models' are not known."""
    found = []
    for spec in data.plan.subspaces:
        if data.store.has(*spec.artifact):
            found.append(data.store.get(*spec.artifact).tensors.get("start_cosines"))
    known = [cosines.numpy() for cosines in found if cosines is not None]
    return np.concatenate(known) if known and len(known) == len(found) else np.zeros(0)


def _matrices(data: ReportData) -> dict[str, dict[str, Tensor]]:
    """Role to model to its UAPs, as far as they were made."""
    roles = {m.spec.id: m.role for m in data.plan.members}
    found: dict[str, dict[str, Tensor]] = {}
    for spec in data.plan.subspaces:
        if data.store.has(*spec.artifact):
            uaps = data.store.get(*spec.artifact).tensors["uaps"]
            found.setdefault(roles[spec.model.id], {})[spec.model.id] = uaps
    return found
