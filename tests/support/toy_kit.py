"""A small kit made by hand around one net: a model that responds as it does is accused, another one is not."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from uapfp_dist.data import load
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.training import fit
from uapfp_dist.response_format import LABEL, PROBABILITIES
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.specs import Recipe
from uapfp_dist.verification.judging.suspect_scores import fingerprints, similarities
from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.info import KitChurn, KitInfo, KitModel, MethodChoice, MethodName
from uapfp_dist.verification.kit.input_check import choose_input_check
from uapfp_dist.verification.kit.io import with_digest
from uapfp_dist.verification.kit.kit import Kit

N_CALIBRATE, N_POINTS, N_VIEWS, N_NATURAL = 19, 10, 4, 30
WIDTH = 8


@cache
def trained(seed: int, first: int = 0) -> Net:
    """A net of architecture A trained on 500 digits, those from `first` on."""
    digits = load("digits", None)
    index = torch.arange(first, first + 500)
    net = build("A", digits.shape, digits.n_classes, WIDTH, seed, torch.device("cpu"))
    net.normalise_by(digits.pixels(index))
    fit(net, digits.pixels(index), digits.labels[index], Recipe("adam", 64, 4000), torch_rng("toy", seed))
    return net


def negative() -> Net:
    """A net that stands among the calibration models six times: never accused at alpha .05."""
    return trained(1, 600)


def serve(net: nn.Module) -> Callable[[np.ndarray], list[list[float]]]:
    """The net as an endpoint computes it: float32, one list of probabilities per image."""
    return lambda images: predict_probabilities(net, torch.from_numpy(np.asarray(images, dtype=np.float32))).tolist()


def responses_of(net: nn.Module, images: Tensor) -> Tensor:
    """(Q, C) probabilities of the net for (Q, c, h, w) uint8 images."""
    return predict_probabilities(net, images.float() / 255)


@cache
def toy_kit(method: MethodName = "weighted_errors") -> Kit:
    """The victim is `trained(0)`; nets on other digits calibrate both methods, three of them for all 57."""
    digits, rng = load("digits", None), torch_rng("toy kit")
    victim = trained(0)
    clean = digits.images[: N_POINTS * N_VIEWS]
    shift = torch.randint(-90, 90, clean.shape[1:], generator=rng)
    moved = (clean.int() + shift).clamp(0, 255).to(torch.uint8)
    outside = digits.images[1100:]
    natural = outside[responses_of(victim, outside).max(1).values.argsort()[:N_NATURAL]]
    images = torch.cat([clean, moved, natural])
    order = torch.randperm(len(images), generator=rng)
    images, place = images[order], order.argsort()
    probabilities = responses_of(victim, images)
    points = torch.arange(len(clean)).view(N_VIEWS, N_POINTS)
    views = torch.stack([place[points], place[points + len(clean)]])
    at = place[2 * len(clean) :]
    hidden = 2 * N_POINTS * digits.n_classes
    encoder = {
        "w1": torch.randn(hidden, 32, generator=rng),
        "b1": torch.zeros(32),
        "w2": torch.randn(32, 16, generator=rng),
        "b2": torch.zeros(16),
    }
    others = [responses_of(trained(1 + i % 3, 600), images) for i in range(N_CALIBRATE)]
    labels = probabilities.argmax(1)
    agrees = torch.stack([p.argmax(1)[at] == labels[at] for p in others])
    groups = ("homologous", "same_data", "other_victim")
    about = {"architecture": "A", "optimizer": "adam", "model": "m"}
    rows = [KitModel(g, "calibration", "", "", **about) for g in groups for _ in others]
    stolen = [KitModel("piracy", "test", "knockoff", "hard", **about)] * 2
    similarity = {}
    for fmt in (PROBABILITIES, LABEL):
        prints = [fingerprints(p, views, fmt) for p in (probabilities, *others)]
        scores = [similarities(encoder, p, prints[0]) for p in prints]
        similarity[fmt] = torch.stack(scores[1:] * 3 + scores[:1] * 2)
    decided = {fmt: MethodChoice(method, "made by hand") for fmt in similarity}
    return with_digest(
        Kit(
            digest="",
            images=images,
            n_classes=digits.n_classes,
            class_names=digits.class_names,
            victim_labels=labels,
            clean=place[: len(clean)],
            info=KitInfo(0.05, decided, (*rows, *stolen), ("A toy.",)),
            victim=probabilities,
            natural=at,
            log_odds_agree=torch.ones(N_NATURAL, dtype=torch.float64),
            log_odds_disagree=-torch.ones(N_NATURAL, dtype=torch.float64),
            agrees=torch.cat([agrees, agrees, agrees, torch.ones(2, N_NATURAL, dtype=torch.bool)]),
            views=dict.fromkeys(similarity, views),
            encoders=dict.fromkeys(similarity, encoder),
            similarity=similarity,
        )
    )


@cache
def checked_kit(method: MethodName = "weighted_errors") -> Kit:
    """The toy kit with an input check by its models."""
    kit = replace(toy_kit(method), input_check=None)
    nets = [trained(1 + i % 3, 600) for i in range(N_CALIBRATE)] * 3 + [trained(0)] * 2
    labels = torch.stack([responses_of(net, kit.images).argmax(1) for net in nets])
    return with_digest(replace(kit, input_check=choose_input_check(kit.clean, labels)))


N_SETS, SET_POINTS, BUDGETS = 3, 20, (10, 20)


@cache
def churn_kit(size: str = "light", n_calibrate: int = N_CALIBRATE) -> Kit:
    """The toy kit with three sets of points at which `trained(0)` alone says what it says; a light one or a full one.

    The three other nets are its siblings and stand for the models of all four groups.
    """
    base, light = toy_kit(), size == "light"
    others = [trained(1 + i, 600) for i in range(3)]
    rng = torch_rng("toy churn")
    pool = load("digits", None).images[1100:].repeat(4, 1, 1, 1)
    pool = (pool.int() + torch.randint(-120, 120, pool.shape, generator=rng)).clamp(0, 255).to(torch.uint8)
    labels = responses_of(trained(0), pool).argmax(1)
    said = torch.stack([responses_of(net, pool).argmax(1) for net in others], dim=1)
    found = (said != labels[:, None]).all(1).nonzero()[: N_SETS * SET_POINTS, 0]
    assert len(found) == N_SETS * SET_POINTS
    images = torch.cat([base.images, pool[found]])
    groups = ("homologous", "same_data", "other_victim", "sibling")
    about = {"architecture": "A", "optimizer": "adam", "model": "m"}
    rows = [KitModel(group, "calibration", "", "", **about) for group in groups for _ in range(n_calibrate)]
    rows += [KitModel("piracy", "test", "knockoff", "hard", **about)] * 2
    first = [0] * n_calibrate * len(groups) + [len(base.info.models) - 1] * 2  # rows of the toy kit
    agrees = torch.zeros(len(rows), N_SETS, SET_POINTS, dtype=torch.bool)
    agrees[-2:] = True
    weights = torch.zeros(len(BUDGETS), N_SETS, SET_POINTS, dtype=torch.float64)
    for row, budget in enumerate(BUDGETS):
        weights[row, :, :budget] = 1 / budget
    all_labels = torch.stack([responses_of(net, images).argmax(1) for net in (*others, trained(0))])
    decided = dict.fromkeys(base.info.decided_by, MethodChoice("churn" if light else "weighted_churn", "by hand"))
    kit = replace(
        base,
        images=images,
        victim_labels=torch.cat([base.victim_labels, labels[found]]),
        victim=torch.cat([base.victim, torch.eye(base.n_classes)[labels[found]]]),
        info=replace(base.info, decided_by=decided, models=tuple(rows), churn=KitChurn(3, 0.8, len(pool), 60, 60)),
        agrees=base.agrees[first],
        similarity={fmt: of_models[first] for fmt, of_models in base.similarity.items()},
        input_check=choose_input_check(base.clean, all_labels[[i % 3 for i in range(len(rows) - 2)] + [3, 3]]),
        churn=ChurnSets(
            points=torch.arange(len(base.images), len(images)).view(N_SETS, SET_POINTS),
            budgets=torch.tensor(BUDGETS),
            weights=weights,
            intercepts=torch.full((len(BUDGETS), N_SETS), 0.5, dtype=torch.float64),
            committee=said[found].view(N_SETS, SET_POINTS, 3),
            agrees=agrees,
        ),
    )
    return with_digest(without_views(kit) if light else kit)


def without_views(kit: Kit) -> Kit:
    """Nothing but churn."""
    nothing = torch.zeros(0, dtype=torch.float64)
    return replace(
        kit,
        views={},
        encoders={},
        similarity={},
        natural=torch.zeros(0, dtype=torch.int64),
        log_odds_agree=nothing,
        log_odds_disagree=nothing,
        agrees=torch.zeros(len(kit.info.models), 0, dtype=torch.bool),
    )
