"""Tables 1 to 3 and figures 3, 5 and 7: the zoo, and how similar its models' fingerprints are to the victim's."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from uapfp_dist.pipeline.exhibits.evidence import Evidence, Exhibit
from uapfp_dist.pipeline.judging import t_test_p
from uapfp_dist.science import figures, paper
from uapfp_dist.science.fingerprint.probe import block_name
from uapfp_dist.science.scoring import Scored, ScoredDraw
from uapfp_dist.science.zoo.cnn import TABLE_1

TSNE_MODELS = 4
"""Models of each type in the t-SNE."""


def zoo(evidence: Evidence) -> Exhibit:
    """Table 1: architectures and what became of them."""
    rows = []
    members = [m for m in evidence.panelists.members if m.role in ("victim", "piracy", "homologous")]
    for architecture in sorted({m.spec.architecture for m in members}):
        mine = [m for m in members if m.spec.architecture == architecture]
        row: dict[str, object] = {"architecture": architecture}
        if architecture in TABLE_1:
            spec = TABLE_1[architecture]
            row |= {
                "activation": spec.activation.__name__,
                "dropout": spec.dropout,
                "kernel": spec.kernel,
                "convolutions": spec.n_convolutions,
            }
        row["optimizers"] = ", ".join(sorted({m.spec.recipe.optimizer for m in mine}))
        row["batch sizes"] = ", ".join(map(str, sorted({m.spec.recipe.batch_size for m in mine})))
        for role in ("victim", "piracy", "homologous"):
            accuracy = [evidence.cards[m.spec.id]["accuracy"] for m in mine if m.role == role]
            row[f"{role} models"] = len(accuracy)
            row[f"{role} accuracy"] = float(np.mean(accuracy)) if accuracy else None
        recoveries = [evidence.cards[m.spec.id]["recovery"] for m in mine if m.role == "piracy"]
        row["recovery"] = float(np.mean(recoveries)) if recoveries else None
        rows.append(row)
    recovery = [evidence.cards[m.spec.id]["recovery"] for m in members if m.role == "piracy"]
    body = {"mean_recovery": float(np.mean(recovery)) if recovery else None}
    text = (
        f"The zoo. Accuracy on EVAL; recovery is the accuracy of a piracy model over the victim's. {evidence.setting}."
    )
    return Exhibit("table1_zoo", "Table 1: the zoo", text, {"table1_zoo": pd.DataFrame(rows)}, {}, {"zoo": body})


def tables_2_3(evidence: Evidence) -> Exhibit:
    """Similarity by architecture (and optimizer), the paper's beside ours, ours with an interval over models."""
    ours = _by_cell(evidence)
    published = paper.table(evidence.plan.data.name)
    number = "2" if evidence.plan.data.name == "fashion_mnist" else "3"
    shown = {"table_similarity": ours}
    drawn = {}
    if published is not None:
        keys = ["architecture", "optimizer"] if published["optimizer"].notna().all() else ["architecture"]
        columns = [*keys, *(c for c in published.columns if c.startswith(("piracy_", "homologous_")))]
        shown["table_similarity"] = ours.merge(published[columns], on=keys, how="left", suffixes=("", "_paper"))
        drawn = {"table_vs_paper": figures.table_vs_paper(ours, published)}
    return Exhibit(
        "table2_similarity",
        f"Table {number}: similarity of fingerprints" if published is not None else "Similarity of fingerprints",
        "Mean and standard deviation over all fingerprints of all test models, and the paper's t-test p, for one UAP "
        "of the paper's norm on probabilities; `low` and `high` are a 95 % bootstrap interval of the mean over models. "
        f"{evidence.setting}.",
        shown,
        drawn,
        {"similarity_by_architecture": ours.to_dict("records"), "similarity_gaps": _gaps(ours)},
    )


def _paper_scored(d: ScoredDraw) -> Scored | None:
    return d.chosen("uap_paper", "prob") if "uap_paper" in d.methods else d.chosen("uap")


def _by_cell(evidence: Evidence) -> pd.DataFrame:
    members = evidence.panelists.members
    fingerprints: dict[tuple[str, str, str], dict[str, list[np.ndarray]]] = {}
    p_values: dict[tuple[str, str, str], list[float]] = {}
    for d in evidence.draws:
        scored = _paper_scored(d)
        if scored is None:
            continue
        for row in d.draw.tested(members, "piracy", "homologous"):
            spec = members[row].spec
            key = (spec.architecture, spec.recipe.optimizer, members[row].role)
            views = scored.scores[row].double().numpy()
            fingerprints.setdefault(key, {}).setdefault(spec.id, []).append(views)
            p_values.setdefault(key, []).append(t_test_p(scored, row, d.draw, "table2", d.draw.index, row))
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for key, models in sorted(fingerprints.items()):
        architecture, optimizer, role = key
        cell = rows.setdefault((architecture, optimizer), {"architecture": architecture, "optimizer": optimizer})
        values = np.concatenate([np.concatenate(v) for v in models.values()])
        low, high = interval([float(np.mean(v)) for v in models.values()])
        cell |= {
            f"{role}_mean": float(values.mean()),
            f"{role}_low": low,
            f"{role}_high": high,
            f"{role}_std": float(values.std()),
            f"{role}_p": float(np.mean(p_values[key])),
            f"{role}_models": len(models),
        }
    return pd.DataFrame(list(rows.values()))


def interval(per_model: Sequence[float]) -> tuple[float | None, float | None]:
    """95 % bootstrap interval of a mean over models; none for a single one."""
    if len(per_model) < 2:
        return None, None
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(per_model), (2000, len(per_model))).mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _gaps(table: pd.DataFrame) -> dict[str, float | None]:
    """The paper's largest and smallest gap between mean similarities of piracy and homologous cells."""
    if not {"piracy_mean", "homologous_mean"} <= set(table.columns):
        return {}
    piracy, homologous = table["piracy_mean"].dropna(), table["homologous_mean"].dropna()
    return {
        "largest": float(piracy.max() - homologous.min()),
        "smallest": float(piracy.min() - homologous.max()),
    }


def _fingerprints_by(evidence: Evidence, method: str, fmt: str) -> dict[str, dict[str, np.ndarray]]:
    """Architecture to role to similarities of all test fingerprints of all draws."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    members = evidence.panelists.members
    for d in evidence.draws:
        scored = d.chosen(method, fmt) or d.chosen(method)
        if scored is None:
            continue
        for row in d.draw.tested(members, "piracy", "homologous"):
            roles = found.setdefault(members[row].spec.architecture, {})
            roles.setdefault(members[row].role, []).append(scored.scores[row].numpy())
    return {a: {role: np.concatenate(v) for role, v in sorted(roles.items())} for a, roles in found.items()}


def cdfs(evidence: Evidence) -> Exhibit:
    """Figure 5."""
    method = "uap_paper" if "uap_paper" in evidence.draws[0].methods else "uap"
    data = _fingerprints_by(evidence, method, "prob")
    body = {
        a: {
            "piracy_above_.8": float((roles["piracy"] > 0.8).mean()) if "piracy" in roles else None,
            "homologous_above_.4": float((roles["homologous"] > 0.4).mean()) if "homologous" in roles else None,
        }
        for a, roles in data.items()
    }
    return Exhibit(
        "fig5_similarity_cdf",
        "Figure 5: distribution of fingerprint similarity",
        "Cumulative share of the test fingerprints of all draws, in bins of .1, by architecture. The paper, on "
        f"CIFAR-10: all piracy above .8, at most 20 % of homologous above .4. {evidence.setting}.",
        {},
        {"fig5_similarity_cdf": figures.similarity_cdf(data, f"similarity to the victim ({method}, probabilities)")},
        {"cdf": body},
    )


def perturbations(evidence: Evidence) -> Exhibit | None:
    """Figure 7: universal beside local perturbations."""
    names = {"uap_paper": "UAP", "lap_minimal": "LAP minimal", "lap": "LAP rescaled"}
    data = {}
    for method, name in names.items():
        if method in evidence.draws[0].methods:
            by_architecture = _fingerprints_by(evidence, method, "prob")
            data[name] = {
                role: np.concatenate([roles[role] for roles in by_architecture.values() if role in roles])
                for role in ("piracy", "homologous")
                if any(role in roles for roles in by_architecture.values())
            }
    if len(data) < 2:
        return None
    return Exhibit(
        "fig7_uap_vs_lap",
        "Figure 7: universal against local perturbations",
        "LAP is DeepFool on the victim for each point: minimal, or rescaled to the UAP's norm. Probabilities, all test "
        f"fingerprints of all draws. {evidence.setting}.",
        {},
        {"fig7_uap_vs_lap": figures.fig7_uap_vs_lap(data)},
    )


def embedding(evidence: Evidence) -> Exhibit:
    """Figure 3: t-SNE of the test fingerprints (probabilities) of the victim and a few models of each type."""
    panel, draw = evidence.panel, evidence.draws[0].draw
    piracy = draw.tested(panel.members, "piracy")[:TSNE_MODELS]
    homologous = draw.tested(panel.members, "homologous")[:TSNE_MODELS]
    rows = [0, *piracy, *homologous]
    roles = [panel.members[row].role for row in rows for _ in range(panel.n_test_views)]
    found = {}
    fraction = panel.fractions[-1]  # one norm for both panels
    for title, perturbation in (("UAP fingerprints", "uap"), ("local perturbation fingerprints", "lap")):
        prints = panel.fingerprints(rows, block_name(perturbation, fraction), "prob", panel.n_test_views)
        flat = prints.flatten(0, 1).numpy()
        with threadpool_limits(1):
            # PCA as a start draws no random numbers
            points = TSNE(perplexity=min(30.0, len(flat) / 4), init="pca", random_state=0).fit_transform(flat)
        found[title] = (points, roles)
    return Exhibit(
        "fig3_tsne",
        "Figure 3: t-SNE of fingerprints",
        f"Test fingerprints of the victim and of {len(piracy)} piracy and {len(homologous)} homologous test models of "
        f"draw 0, universal beside local perturbations of equal norm. {evidence.setting}.",
        {},
        {"fig3_tsne": figures.tsne(found)},
    )
