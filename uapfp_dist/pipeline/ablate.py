"""One trial of an ablation as a plain function: an encoder retrained under one setting, on stored answers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from uapfp_dist.science.data.splits import index_digest
from uapfp_dist.science.encoder import EncoderConfig
from uapfp_dist.science.fingerprint.draws import Draw
from uapfp_dist.science.fingerprint.methods import Candidate, EncoderMethod, Request, similarities
from uapfp_dist.science.fingerprint.panel import IPGUARD, Panel
from uapfp_dist.science.verdict import auc
from uapfp_dist.specs import JUDGING_VERSION, Format, content_id
from uapfp_dist.store import Store


@dataclass(frozen=True)
class Setting:
    """What a trial changes; None leaves what the evaluation has."""

    block: str
    """The perturbation's block of answers."""
    format: Format = "prob"
    n_points: int | None = None
    """Only the first so many clusters."""
    n_views: int | None = None
    """Views the encoder learns from; the test views stay."""
    loss: Literal["supcon", "cross_entropy", "autoencoder"] = "supcon"


def trial(panel: Panel, draw: Draw, setting: Setting, config: EncoderConfig, seed: str) -> Tensor:
    """(M,) similarity of every model to the victim, by an encoder trained on the draw's 5 + 5 under `setting`."""
    shown = fewer_points(panel, setting.n_points)
    candidate = Candidate(setting.block, setting.format)
    request = Request(
        fewer_views(shown, setting.n_views), candidate, [draw.training], replace(config, loss=setting.loss), seed
    )
    return similarities(EncoderMethod("", setting.block).fit(request), shown, candidate)[0].mean(1)


def stored_trial(store: Store, panel: Panel, draw: Draw, setting: Setting, config: EncoderConfig, seed: str) -> Tensor:
    """`trial`, done once in all runs: read where it is stored."""
    key = trial_id(panel, draw, setting, config, seed)
    if not store.intact("trial", key):
        scores = trial(panel, draw, setting, config, seed)
        store.put("trial", key, {"scores": scores}, {"setting": asdict(setting), "draw": draw.index})
    return store.get("trial", key).tensors["scores"]


def trial_id(panel: Panel, draw: Draw, setting: Setting, config: EncoderConfig, seed: str) -> str:
    """The id of a stored trial: everything that its scores follow from."""
    models = [member.spec.id for member in panel.members]
    settled = {"trial": setting, "draw": draw, "encoder": config, "seed": seed, "models": models}
    return content_id({**settled, "views": index_digest(panel.views), "judging": JUDGING_VERSION})


def outcome(panel: Panel, draw: Draw, scores: Tensor, piracy_rows: Sequence[int] | None = None) -> dict[str, Any]:
    """Gap and AUC on the draw's test models; of `piracy_rows` where these are to be caught, not the test piracy."""
    rows = draw.tested(panel.members, "piracy") if piracy_rows is None else list(piracy_rows)
    piracy = scores[rows]
    homologous, other = (scores[draw.tested(panel.members, role)] for role in ("homologous", "other_victim_piracy"))
    return {
        "gap": float(piracy.mean() - homologous.mean()),
        "auc": auc(piracy, homologous),
        "auc_other_victim": auc(piracy, other),
        "piracy": float(piracy.mean()),
        "homologous": float(homologous.mean()),
    }


def fewer_points(panel: Panel, n_points: int | None) -> Panel:
    """Fingerprints of the first `n_points` clusters."""
    return panel if n_points is None else _cut(panel, (slice(None), slice(n_points)))


def fewer_views(panel: Panel, n_views: int | None) -> Panel:
    """The first `n_views` views alone."""
    return panel if n_views is None else _cut(panel, (slice(n_views), slice(None)))


def _cut(panel: Panel, part: tuple[slice, slice]) -> Panel:
    # A block without views has nothing to cut.
    gather = {name: index if name == IPGUARD else index[part] for name, index in panel.gather.items()}
    return replace(panel, views=panel.views[part], gather=gather)


def mean_confidence(panel: Panel, k: int) -> float:
    """Mean sum of the k largest confidences of all models on the clean test points (the paper: .9996 at 3)."""
    sums = panel.per_model("clean", "prob", lambda p: p.sort(dim=1, descending=True).values[:, :k].sum(1).mean())
    return float(torch.as_tensor(sums).mean())
