"""A kit by hand, whose scores are known: for the tests of judging and of reading."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from toy_kit import without_views

from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.judging.suspect_scores import score_suspect
from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.info import Accused, ChurnRates, KitChurn, KitInfo, KitModel, MethodChoice, MethodName
from uapfp_dist.verification.kit.input_check import choose_input_check
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit

N_CLASSES, N_IMAGES, N_ERRORS, N_VIEWS, N_POINTS = 4, 40, 16, 5, 3
TOP2 = ResponseFormat(2)
FORMATS = (PROBABILITIES, TOP2, LABEL)


def random_responses(seed: object) -> Tensor:
    """(Q, C) probabilities of a model that knows nothing."""
    return torch.randn(N_IMAGES, N_CLASSES, generator=torch_rng("answers", seed)).mul(2).softmax(1)


def like(victim: Tensor, share: float, seed: object) -> Tensor:
    """(Q, C) probabilities of a model that responds as the victim does on that share of images."""
    same = torch.rand(len(victim), 1, generator=torch_rng("like", seed)) < share
    return torch.where(same, victim, random_responses(seed))


def answers(kit: Kit, share: float, seed: object = 0) -> Tensor:
    """(Q, C) labels, one-hot, of a model that gives the victim's label to that share of images."""
    rng = torch_rng("answers", seed)
    other = (kit.victim_labels + torch.randint(1, N_CLASSES, kit.victim_labels.shape, generator=rng)) % N_CLASSES
    same = torch.rand(len(other), generator=rng) < share
    return torch.eye(N_CLASSES)[torch.where(same, kit.victim_labels, other)]


GROUPS = ("homologous", "same_data", "other_victim")
SETS, SET_POINTS, BUDGETS, SIBLINGS = 3, 12, (4, 8, 12), 5


def model_rows(per_group: int, n_test: int = 6, groups: Sequence[str] = GROUPS) -> list[KitModel]:
    """What a kit says of its models."""
    about = {"architecture": "B", "optimizer": "sgd", "model": "m"}
    rows = [KitModel(g, "calibration", "", "", **about) for g in groups for _ in range(per_group)]
    return rows + [KitModel("piracy", "test", "cloudleak", "hard", **about)] * n_test


def make_test_kit(
    per_group: int = 19,
    alpha: float = 0.05,
    method: MethodName = "weighted_errors",
    seed: object = 0,
    models: Sequence[KitModel] | None = None,
) -> Kit:
    """A kit with random encoders and weights; negatives agree with its victim now and then, stolen models mostly."""
    rng = torch_rng("kit", seed)
    victim = random_responses(("victim", seed))
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

    rows = tuple(models or model_rows(per_group))
    kit = Kit(
        digest="",
        images=torch.arange(N_IMAGES * 4, dtype=torch.uint8).view(N_IMAGES, 1, 2, 2),
        n_classes=N_CLASSES,
        class_names=tuple("abcd"),
        victim_labels=victim.argmax(1),
        clean=torch.arange(10),
        info=KitInfo(
            alpha=alpha,
            decided_by={fmt: MethodChoice(method, "by hand") for fmt in FORMATS},
            models=rows,
            limits=("A kit of a test.",),
        ),
        victim=victim,
        natural=torch.arange(N_IMAGES - N_ERRORS, N_IMAGES),
        log_odds_agree=torch.rand(N_ERRORS, generator=rng).double() + 0.5,
        log_odds_disagree=-torch.rand(N_ERRORS, generator=rng).double() - 0.5,
        agrees=torch.zeros(0, N_ERRORS, dtype=torch.bool),
        views={fmt: torch.randint(0, 24, (2, N_VIEWS, N_POINTS), generator=rng) for fmt in FORMATS},
        encoders={fmt: encoder() for fmt in FORMATS},
    )
    return with_digest(with_models(kit, [like(victim, 0.9 * (r.group == "piracy"), i) for i, r in enumerate(rows)]))


def with_models(kit: Kit, responses: list[Tensor]) -> Kit:
    """The kit with the scores of models that responded so."""
    scored = {fmt: [score_suspect(kit, fmt, one) for one in responses] for fmt in FORMATS}
    return replace(
        kit,
        agrees=torch.stack([one.agrees for one in scored[LABEL]]),
        similarity={fmt: torch.stack([one.similarity for one in found]) for fmt, found in scored.items()},
    )


def make_churn_kit(size: str = "full", per_group: int = 19, alpha: float = 0.05, seed: object = 0) -> Kit:
    """The test kit with sets of churn points, at which negatives agree now and then, stolen models mostly."""
    rng = torch_rng("churn kit", size, seed)
    rows = model_rows(per_group, groups=(*GROUPS, "sibling"))
    base = make_test_kit(per_group, alpha, seed=seed, models=rows)
    n = SETS * SET_POINTS
    labels = torch.cat([base.victim_labels, torch.randint(N_CLASSES, (n,), generator=rng)])
    responses = torch.stack([like(base.victim, 0.9, i) for i in range(len(rows))])
    points = (torch.randperm(n, generator=rng) + N_IMAGES).view(SETS, SET_POINTS)
    light, method = size == "light", "churn" if size == "light" else "weighted_churn"
    weights = torch.zeros(len(BUDGETS), SETS, SET_POINTS, dtype=torch.float64)
    for row, budget in enumerate(BUDGETS):
        weights[row, :, :budget] = 1 / budget if light else torch.rand(SETS, budget, generator=rng).double()
    intercepts = torch.randn(len(BUDGETS), SETS, generator=rng).double()
    share = torch.tensor([0.9 if row.group == "piracy" else 0.2 for row in rows])[:, None, None]
    elsewhere = torch.randint(1, N_CLASSES, (SETS, SET_POINTS, SIBLINGS), generator=rng)
    elsewhere[..., 0] = 0  # one sibling says what the victim says
    rates = {"all": Accused(1, 2)}
    info = replace(
        base.info,
        decided_by={fmt: MethodChoice(method, "by design") for fmt in FORMATS},  # type: ignore[arg-type]
        churn=KitChurn(SIBLINGS, 0.8, 1000, 50, 30, (ChurnRates(0, BUDGETS[0], rates, rates),)),
    )
    kit = replace(
        base,
        images=torch.cat([base.images, torch.randint(256, (n, 1, 2, 2), generator=rng).to(torch.uint8)]),
        victim_labels=labels,
        victim=torch.cat([base.victim, torch.eye(N_CLASSES)[labels[N_IMAGES:]]]),
        info=info,
        input_check=choose_input_check(base.clean, responses.argmax(2)),
        churn=ChurnSets(
            points=points,
            budgets=torch.tensor(BUDGETS),
            weights=weights,
            intercepts=torch.full_like(intercepts, 0.5) if light else intercepts,
            committee=(labels[points][..., None] + elsewhere) % N_CLASSES,
            agrees=torch.rand(len(rows), SETS, SET_POINTS, generator=rng) < share,
        ),
    )
    return with_digest(without_views(kit) if light else kit)
