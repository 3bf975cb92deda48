"""What the paper lacks: who is accused that should not be, and by which statistic."""

import pandas as pd

from uapfp_dist.evaluation.judging import GROUPS
from uapfp_dist.reporting import figures
from uapfp_dist.reporting.sections.report_data import ReportData, ReportSection
from uapfp_dist.tasks.members import Role

SHOULD = {
    "piracy": "accused",
    "soft_piracy": "accused",
    "homologous": "let alone",
    "same_data": "let alone",
    "other_victim_piracy": "let alone",
    "calibration_piracy": "let alone",
}


def controls(evidence: ReportData) -> ReportSection:
    """Every group: what should happen to it, its score, and how often it is accused."""
    accusation, power = evidence.report["false_accusation"], evidence.report["power"]
    rates = {
        kind: {role: accusation[kind].get(group) for group, role in GROUPS.items()}
        for kind in ("conformal", "t_test", "conformal_weighted_errors")
    }
    for kind, by_role in (("conformal", "by_role"), ("conformal_weighted_errors", "by_role_weighted_errors")):
        rates[kind] |= power[by_role]
    rates["t_test"]["piracy"] = power["t_test"]
    decided_by = evidence.plan.config.verdict.decided_by
    models = evidence.per_model(evidence.deciding)
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
                    "accused (conformal)": rates["conformal"].get(role),
                    "accused (paper's t-test)": rates["t_test"].get(role),
                    "accused (weighted errors)": rates["conformal_weighted_errors"].get(role),
                }
            )
    table = pd.DataFrame(rows)
    rated = _rates(table)
    shown = {"false_accusations": figures.false_accusations(rated, evidence.alpha)} if len(rated) else {}
    return ReportSection(
        "controls",
        "Controls: who is accused",
        f"Share accused at alpha {evidence.alpha:g} over the test models of all draws. Scores and conformal decisions "
        f"are those of `{decided_by}`, which decides, and of weighted errors in their own column: they count models. "
        "The paper's t-test is made of `uap`, norms averaged and the format chosen; it takes the 20 fingerprints of "
        f"one model for independent. Calibrated on {evidence.report['calibration']['models']} homologous models"
        + (
            f" and {evidence.report['calibration']['other_victim']} pirates of other victims"
            if evidence.report["calibration"]["other_victim"]
            else " alone: the other groups of innocents are controls, the verdict is not calibrated against them"
        )
        + f". {evidence.setting}.",
        {"controls": table},
        shown,
    )


def _rates(table: pd.DataFrame) -> pd.DataFrame:
    """Innocents by group and test, in models, for the figure."""
    rows = []
    for record in table[table["should be"] == "let alone"].to_dict("records"):
        for test, column in (("conformal", "accused (conformal)"), ("t_test", "accused (paper's t-test)")):
            rate = record[column]
            if rate is not None and rate == rate:
                n = record["models"]
                rows.append({"group": record["group"], "test": test, "accused": rate * n, "n": n})
    return pd.DataFrame(rows)
