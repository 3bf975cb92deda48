"""A kit by hand, whose scores are known: for the tests of judging and of reading."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_io import with_digest
from uapfp_dist.verification.scoring import score

N_CLASSES, N_IMAGES, N_ERRORS, N_VIEWS, N_POINTS = 4, 40, 16, 5, 3
TOP2 = ResponseFormat(2)
FORMATS = (PROBABILITIES, TOP2, LABEL)


def random_answers(seed: object) -> Tensor:
    """(Q, C) probabilities of a model that knows nothing."""
    return torch.randn(N_IMAGES, N_CLASSES, generator=torch_rng("answers", seed)).mul(2).softmax(1)


def like(victim: Tensor, share: float, seed: object) -> Tensor:
    """(Q, C) probabilities of a model that says what the victim says on that share of images."""
    same = torch.rand(len(victim), 1, generator=torch_rng("like", seed)) < share
    return torch.where(same, victim, random_answers(seed))


def model_rows(per_group: int, n_test: int = 6) -> list[dict[str, str]]:
    """What a kit says of its models."""
    groups = ("homologous", "same_data", "other_victim")
    none = {"attack": "", "labels": "", "architecture": "B", "optimizer": "sgd", "model": "m"}
    rows = [{"group": g, "part": "calibration", **none} for g in groups for _ in range(per_group)]
    stolen = {**none, "attack": "cloudleak", "labels": "hard"}
    return rows + [{"group": "piracy", "part": "test", **stolen} for _ in range(n_test)]


def make_test_kit(
    per_group: int = 19, alpha: float = 0.05, method: str = "weighted_errors", seed: object = 0, **info: Any
) -> Kit:
    """A kit with random encoders and weights; its innocents agree with the victim now and then, its pirates mostly."""
    rng = torch_rng("kit", seed)
    victim = random_answers(("victim", seed))
    dims, hidden, embedding = 2 * N_POINTS * N_CLASSES, 6, 5

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    def encoder() -> dict[str, Tensor]:
        return {
            "w1": normal(dims, hidden),
            "b1": normal(hidden).abs(),
            "w2": normal(hidden, embedding),
            "b2": normal(embedding).abs(),
        }

    rows = info.pop("models", None) or model_rows(per_group)
    kit = Kit(
        digest="",
        images=torch.arange(N_IMAGES * 4, dtype=torch.uint8).view(N_IMAGES, 1, 2, 2),
        n_classes=N_CLASSES,
        class_names=tuple("abcd"),
        victim_labels=victim.argmax(1),
        clean=torch.arange(10),
        info={
            "alpha": alpha,
            "decided_by": {fmt.wire: {"method": method, "why": "by hand"} for fmt in FORMATS},
            "models": rows,
            "limits": ["A kit of a test."],
            **info,
        },
        victim=victim,
        natural=torch.arange(N_IMAGES - N_ERRORS, N_IMAGES),
        log_odds_agree=torch.rand(N_ERRORS, generator=rng).double() + 0.5,
        log_odds_disagree=-torch.rand(N_ERRORS, generator=rng).double() - 0.5,
        agrees=torch.zeros(0, N_ERRORS, dtype=torch.bool),
        views={fmt: torch.randint(0, 24, (2, N_VIEWS, N_POINTS), generator=rng) for fmt in FORMATS},
        encoders={fmt: encoder() for fmt in FORMATS},
    )
    return with_digest(with_models(kit, [like(victim, 0.9 * (r["group"] == "piracy"), i) for i, r in enumerate(rows)]))


def with_models(kit: Kit, answers: list[Tensor]) -> Kit:
    """The kit with the scores of models that gave these answers."""
    scored = {fmt: [score(kit, fmt, a) for a in answers] for fmt in FORMATS}
    return replace(
        kit,
        agrees=torch.stack([one.agrees for one in scored[LABEL]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scored.items()},
    )
