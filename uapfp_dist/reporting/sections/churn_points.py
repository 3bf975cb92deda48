"""The churn points themselves: how many, of what, what models say to some of them; and the siblings."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from uapfp_dist.execution.stored import published_ids
from uapfp_dist.fingerprints.blocks import CHURN, CHURN_NATURAL, CHURN_RANDOM, CHURN_UAP, BlockKey
from uapfp_dist.fingerprints.churn import ChurnPoints
from uapfp_dist.pixels import as_float
from uapfp_dist.reporting.sections.report_data import ReportData
from uapfp_dist.serialization import from_json
from uapfp_dist.tasks.members import Role, members_of
from uapfp_dist.tasks.model_card import ModelCard
from uapfp_dist.tasks.specs import ModelSpec

POOLS = {
    CHURN: "PROBE and small changes of it",
    CHURN_NATURAL: "PROBE as it is",
    CHURN_UAP: "PROBE moved by the victim's UAPs",
    CHURN_RANDOM: "PROBE moved by random vectors of their norm",
}
SHOWN_POINTS = 12
SHOWN_LABELS = 3
"""Different ones of the committee, at most."""


def pool_table(points: Mapping[BlockKey, ChurnPoints]) -> pd.DataFrame:
    """A row per pool: images compared, disagreements, points kept, and the images of PROBE that they were made of."""
    return pd.DataFrame(
        [
            {
                "pool": words,
                "compared": points[key].pool_size,
                "departures": points[key].n_departures,
                "points": len(points[key].images),
                "pictures": points[key].n_bases,
            }
            for key, words in POOLS.items()
            if key in points
        ]
    )


def sibling_table(data: ReportData) -> pd.DataFrame:
    """A row for the victim, the committee and the siblings that are stolen from: accuracies beside the gate.

    Raises:
        TornArtifactError: a sibling cannot be read.
    """
    siblings, n = [m.spec for m in members_of(data.plan.members, Role.SIBLING)], data.plan.config.siblings.n_committee
    groups = {"committee": siblings[:n], "siblings that are stolen from": siblings[n:]}
    accuracy = {"victim": [data.judged.accuracy[0]], **{who: _accuracies(data, of) for who, of in groups.items()}}
    return pd.DataFrame(
        [
            {
                "who": who,
                "models": len(values),
                "gate": data.plan.config.siblings.gate,
                "accuracy": float(np.mean(values)),
                "lowest_accuracy": min(values),
                "highest_accuracy": max(values),
            }
            for who, values in accuracy.items()
            if values
        ]
    )


def _accuracies(data: ReportData, models: list[ModelSpec]) -> list[float]:
    """Of those that could be made."""
    made = published_ids(data.store, models)
    cards = (data.store.get(*model.artifact).info for model in models if model.id in made)
    return [from_json(ModelCard, card).accuracy for card in cards]


def examples(data: ReportData, points: ChurnPoints) -> tuple[np.ndarray, list[str]]:
    """(K, c, h, w) images in [0, 1], one of a picture, those of largest margin, and what is said to each."""
    first = dict[int, int]()
    for i, base in enumerate(points.base.tolist()):
        first.setdefault(base, i)
    shown = list(first.values())[:SHOWN_POINTS]
    members, resample = data.judged.members, data.resamples[0].resample
    asked = {
        name: rows[0]
        for name, role in (("stolen", "piracy"), ("of a sibling", "sibling_piracy"))
        if (rows := resample.tested(members, role))
    }
    labels = data.matrix.labels(CHURN)

    def caption(i: int) -> str:
        counts = Counter(points.committee[i].tolist()).most_common(SHOWN_LABELS)
        siblings = ", ".join(f"{label} ({n})" for label, n in counts)
        others = [f"{name}: {int(labels[row, i])}" for name, row in asked.items()]
        return "\n".join([f"victim: {int(points.labels[i])}", "siblings:", siblings, *others])

    return as_float(points.images[shown]).numpy(), [caption(i) for i in shown]
