"""The exact sibling test: how many models of each role it claims, by images sent."""

from collections.abc import Iterator

import pandas as pd
import torch

from uapfp_dist.errors import UserError
from uapfp_dist.execution.pool_artifacts import read_pool_labels, read_sibling_points
from uapfp_dist.execution.stored import published_ids
from uapfp_dist.fingerprints.sibling_points import EXACT_POINTS
from uapfp_dist.fingerprints.sibling_test import p_values
from uapfp_dist.reporting.churn_schema import ExactClaims
from uapfp_dist.reporting.section_schema import SectionNumbers, rows_of
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.intervals import clopper_pearson
from uapfp_dist.storage.store import TornArtifactError
from uapfp_dist.tasks.pool_specs import SiblingResponseSpec

TITLE = "The exact sibling test"


def exact(data: ReportData) -> ReportSection | None:
    """A row per role and number of images."""
    if (spec := data.plan.exact) is None:
        return None
    if not data.store.has(*spec.artifact):
        return ReportSection("exact", TITLE, "Not computed: a sibling, or its labels, could not be made.")
    table = pd.DataFrame(_rows(data, exact_claims(data)))
    text = (
        f"The victim and {len(spec.players) - 1} siblings are the players. On images where one of them disagrees with "
        "the others: does the model agree with that player more than the others do? p = (1 + siblings that score at "
        "least as high as the victim) / (1 + siblings). It is exact for a model that learned nothing from the victim, "
        "if any of the players could have been the victim: one recipe, one gate, seeds that were not selected. The "
        "error rate is one over victims; for a single victim it may be far from it. Nothing is learned from stolen "
        f"models, and labels are enough. Share claimed at alpha {data.alpha:g}, each judged alone, with the exact 95 % "
        "interval as if models were independent samples, which they are not. A model stolen from a sibling that is a "
        f"player agrees with that one most: it can hardly be claimed. {data.plan.data.name}, seed {data.plan.seed}."
    )
    return ReportSection("exact", TITLE, text, {"exact": table}, {}, SectionNumbers(exact=rows_of(ExactClaims, table)))


def exact_claims(data: ReportData) -> pd.DataFrame:
    """A row per size of the test and model that answered: `points`, `images`, `row` and whether it is `claimed`.

    Every model counts, since none trains. Empty where there is no test.

    Raises:
        UserError: the images or labels are torn.
    """
    columns = ["points", "images", "row", "claimed"]
    spec = data.plan.exact
    if spec is None or not data.store.has(*spec.artifact):
        return pd.DataFrame(columns=columns)
    responses = [(row, SiblingResponseSpec(m.spec, spec)) for row, m in enumerate(data.judged.members)]
    there = published_ids(data.store, (response for _, response in responses))
    asked = [(row, response) for row, response in responses if response.id in there]
    try:
        points = read_sibling_points(data.store.get(*spec.artifact))
        labels = torch.stack([read_pool_labels(data.store.get(*r.artifact)).labels for _, r in asked])
    except TornArtifactError as error:
        raise UserError(f"expected the exact test and its labels whole, one is torn ({error}); run again") from error
    rows = [row for row, _ in asked]
    sizes = []
    for n in EXACT_POINTS:
        claimed = p_values(points.test(n).statistics(labels)) <= data.alpha + 1e-12
        sizes.append(pd.DataFrame({"points": n, "images": points.n_images(n), "row": rows, "claimed": claimed.numpy()}))
    return pd.concat(sizes)[columns]


def _rows(data: ReportData, claims: pd.DataFrame) -> Iterator[dict[str, str | float]]:
    """The fields of `ExactClaims`."""
    claims = claims.assign(role=[str(data.judged.members[row].role) for row in claims["row"]])
    counts = claims.groupby(["role", "points", "images"], sort=False)["claimed"].agg(["sum", "size"]).reset_index()
    for one in counts.to_dict("records"):
        hits, models = int(one["sum"]), int(one["size"])
        low, high = clopper_pearson(hits, models)
        share = {"claimed": hits / models, "claimed_low": low, "claimed_high": high}
        yield {"role": one["role"], "points": one["points"], "images": one["images"], "models": models, **share}
