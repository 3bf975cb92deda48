"""Churn: what labels tell of lineage where the victim disagrees with its siblings."""

import pandas as pd

from uapfp_dist.errors import UserError
from uapfp_dist.execution.churn_artifacts import read_churn
from uapfp_dist.fingerprints.blocks import CHURN
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.churn_schema import ChurnBudget, ChurnPool, SiblingGroup
from uapfp_dist.reporting.section_schema import SectionNumbers, rows_of
from uapfp_dist.reporting.sections.churn_curves import ALL, MODIFIED, UNMODIFIED, churn_curves, rows_at
from uapfp_dist.reporting.sections.churn_points import examples, pool_table, sibling_table
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.storage.store import TornArtifactError

METHODS = ("churn", "weighted_churn", "weighted_churn_controls", "churn_natural", "churn_uap", "churn_random")
MORE_BUDGETS = (10, 25, 50, 200)
"""Beside those of the configuration: the figure's."""


def churn(data: ReportData) -> ReportSection | None:
    """AUC by number of points, how many there are and of what, and some of them as images."""
    spec, config = data.plan.churn, data.plan.config
    methods = [method for method in METHODS if data.resamples[0].methods.get(method)]
    if spec is None or not methods:
        return None
    try:
        points = read_churn(data.store.get(*spec.artifact))
        siblings = sibling_table(data)
    except (TornArtifactError, FileNotFoundError) as error:
        raise UserError(f"expected churn points and siblings whole, found one torn ({error}); run again") from error
    curves = churn_curves(data, methods, sorted({*config.churn.budgets, *MORE_BUDGETS}))
    table, pools = rows_at(curves, config.churn.budgets), pool_table(points)
    panels = {group: f"auc_{group}" for group in ("sibling", ALL) if f"auc_{group}" in curves}
    return ReportSection(
        "churn",
        "Churn: where the victim disagrees with its siblings",
        _text(data, table),
        {"churn": table, "churn_points": pools, "siblings": siblings},
        {
            "churn_auc": figures.churn_auc(curves[curves["stolen"] == UNMODIFIED], panels),
            "churn_images": figures.captioned_rows(*examples(data, points[CHURN])),
        },
        SectionNumbers(
            churn=rows_of(ChurnBudget, table),
            churn_pools=rows_of(ChurnPool, pools),
            siblings=rows_of(SiblingGroup, siblings),
        ),
    )


def _text(data: ReportData, table: pd.DataFrame) -> str:
    config = data.plan.config
    modified = (
        " `modified`: the stolen models after every modification; they are resampled with the models they were made of."
        if MODIFIED in set(table["stolen"])
        else ""
    )
    return (
        f"A sibling is trained by the victim's recipe on its images, from another seed; {config.siblings.n_committee} "
        f"of them form the committee. A churn point is an image to which at most {config.churn.largest_share:.0%} of "
        "the committee give the victim's label. No model trained on the image it was made from; its true label is not "
        "needed. `churn` is the share of the points, those of the victim's largest margin first, at which a model "
        "gives the victim's label; `weighted_churn` learns from the training models which points to send and how much "
        "each counts. Two in five models stolen from siblings are among these; `weighted_churn_controls` learns "
        "without them, as every other method does. The others are `churn` on other pools, which may be larger: more "
        "images to choose from. All need labels alone.\n\n"
        "AUC of models stolen from the victim against each group of negatives, and against all together, with a 95 % "
        "bootstrap interval over models. The hardest are stolen from a sibling: they share data, recipe and attack, "
        "and only the training run differs. `budget` is how many images may be sent, `images` how many were: where a "
        f"pool has fewer points, all of them.{modified}\n\n"
        "The gate is the least accuracy on EVAL. It was fixed beforehand and is the same for the victim and its "
        "siblings: a victim picked for its accuracy would differ from siblings that were not.\n\n"
        "The images are churn points of largest margin, at most one from each image of PROBE, with their labels: the "
        "victim's, the committee's (in brackets, from how many siblings), those of one model stolen from the victim "
        f"and of one stolen from a sibling, both tested in resample 0. {data.setting}."
    )
