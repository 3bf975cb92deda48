"""What the paper lacks: how often negatives are accused, and by which statistic."""

import math
from collections.abc import Mapping

import pandas as pd

from uapfp_dist.evaluation.judging import claim_rates, t_test_rates
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.statistics.auc import FEWEST_VICTIMS
from uapfp_dist.statistics.t_test import T_TEST_FINGERPRINTS
from uapfp_dist.tasks.members import STOLEN_FROM_OTHERS, Role

SHOULD = {
    "piracy": "accused",
    "soft_piracy": "accused",
    "homologous": "not accused",
    "same_data": "not accused",
    "other_victim_piracy": "not accused",
    "calibration_piracy": "not accused",
    "sibling_piracy": "not accused",
    "second_hand_piracy": "accused",
    "mixed_piracy": "accused",
    "relabelled_piracy": "accused",
    "relabelled_homologous": "not accused",
    "other_architecture": "not accused",
}
"""Modified models stand with what was done to them."""


def controls(data: ReportData) -> ReportSection:
    """Every group: what should happen to it, its score, and how often it is accused."""
    calibration, decided_by = data.report.calibration, data.plan.config.verdict.decided_by
    judged = data.resamples, data.judged.members
    conformal = claim_rates(*judged, decided_by, data.alpha)
    by_errors = claim_rates(*judged, "weighted_errors", data.alpha)
    t_test = t_test_rates(*judged, "uap", data.alpha)
    models = data.per_model(data.deciding)
    rows = []
    for role, should in SHOULD.items():
        mine = models[models["role"] == role]
        if len(mine):
            rows.append(
                {
                    "group": role,
                    "who": Role(role).description,
                    "should be": should,
                    "models": len(mine),
                    "score": float(mine["similarity"].mean()),
                    "score_std": float(mine["similarity"].std(ddof=0)),
                    "accused (conformal)": conformal.get(role, math.nan),
                    "accused (paper's t-test)": t_test.get(role, math.nan),
                    "accused (weighted errors)": by_errors.get(role, math.nan),
                }
            )
    table = pd.DataFrame(rows)
    members = data.judged.members
    victims = {role: len({m.stolen_from for m in members if m.role == role}) for role in STOLEN_FROM_OTHERS}
    rated = _rates(table, {str(role): n for role, n in victims.items()})
    shown = {"false_accusations": figures.false_accusations(rated, data.alpha)} if len(rated) else {}
    n_views = min(T_TEST_FINGERPRINTS, data.plan.config.fingerprint.n_test_views)
    return ReportSection(
        "controls",
        "Controls: who is accused",
        f"Share accused at alpha {data.alpha:g} over the test models of all resamples. Scores and conformal decisions "
        f"are those of `{decided_by}`, which decides; weighted errors have a column of their own. These count models. "
        "The paper's t-test is on `uap`, averaged over norms, in the chosen format; it treats the "
        f"{n_views} fingerprints of one model as independent. Calibrated on {calibration.models} independent models"
        + (
            f" and {calibration.other_victim} models stolen from other victims"
            if calibration.other_victim
            else " alone: the other groups of negatives are controls, the verdict is not calibrated against them"
        )
        + f". {data.setting}.",
        {"controls": table},
        shown,
    )


def _rates(table: pd.DataFrame, victims: Mapping[str, int]) -> pd.DataFrame:
    """Negatives by group and test, in models, for the figure; an interval counts victims of models stolen from others.

    Args:
        table: of the section.
        victims: role of models stolen from others to the number of their victims.
    """
    rows = []
    for record in table[table["should be"] == "not accused"].to_dict("records"):
        for test, column in (("conformal", "accused (conformal)"), ("t_test", "accused (paper's t-test)")):
            rate = record[column]
            if not math.isnan(rate):
                n = record["models"]
                count = float(victims.get(record["group"], n))
                independent = math.nan if record["group"] in victims and count < FEWEST_VICTIMS else count
                row = {"group": record["group"], "test": test, "accused": rate * n, "n": n}
                rows.append({**row, "independent": independent})
    return pd.DataFrame(rows)
