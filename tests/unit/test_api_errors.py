"""Wrong use of the front door ends in one line that says what was expected and what came."""

import copy
from collections.abc import Callable

import pytest
import torch
from front_door import SMALL, linear, world
from torch import nn
from toy_kit import toy_kit

import uapfp_dist as ufp
from uapfp_dist.models import Net
from uapfp_dist.tasks.method_configs import ChurnConfig, EncoderConfig, UapConfig

IMAGES = torch.full((4, 1, 8, 8), 0.5)
LABELS = torch.tensor([0, 1, 2, 3])


class Ruined(nn.Module):
    """Gives NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = linear()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner(images) * torch.nan  # type: ignore[no-any-return]


class Steep(Ruined):
    """Gives numbers, and gradients of NaN."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.inner(images)
        return logits + (logits - logits.detach()).abs().sqrt()  # type: ignore[no-any-return]


def plain() -> Net:
    """A linear model."""
    return ufp.wrap(linear(), 10)


def ruined() -> Net:
    """A model that gives NaN."""
    net = copy.deepcopy(world().victim)
    with torch.no_grad():
        net.last.bias.fill_(torch.nan)
    return net


def fitted(method: str = "uap", **groups: list[Net]) -> ufp.Fingerprint:
    """By the models given alone."""
    w = world()
    return ufp.Fingerprint(method, **SMALL).fit(w.victim, w.data, **groups)  # type: ignore[arg-type]


WRONG: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "above 1": (lambda: ufp.uap(plain(), IMAGES * 255), ("images", "[0, 1]", "128")),
    "below 0": (lambda: ufp.extract(plain(), IMAGES - 1, budget=2), ("pool", "[0, 1]", "-0.5")),
    "NaN": (lambda: ufp.int8(plain(), IMAGES * torch.nan), ("images", "[0, 1]", "nan")),
    "bytes": (lambda: ufp.uap(plain(), (IMAGES * 255).to(torch.uint8)), ("float32", "uint8", "divide")),
    "float64": (lambda: ufp.uap(plain(), IMAGES.double()), ("float32", "float64", "images.float()")),
    "float64 with labels": (
        lambda: ufp.LabelledImages(IMAGES.double(), LABELS, 10),
        ("images", "float32", "float64", "images.float()"),
    ),
    "float16": (lambda: ufp.LabelledImages(IMAGES.half(), LABELS, 10), ("float32", "float16", "images.float()")),
    "accuracy on other channels": (
        lambda: ufp.accuracy(world().victim, ufp.LabelledImages(IMAGES.repeat(1, 3, 1, 1), LABELS, 10)),
        ("data", "images that the model takes", "3x8x8", "RuntimeError"),
    ),
    "a UAP on other channels": (
        lambda: ufp.uap(world().victim, IMAGES.repeat(1, 3, 1, 1)),
        ("images that the victim takes", "3x8x8", "RuntimeError"),
    ),
    "a UAP held out on other sizes": (
        lambda: ufp.uap(plain(), IMAGES, held_out=torch.rand(4, 1, 9, 9)),
        ("held_out", "1x8x8", "1x9x9"),
    ),
    "half a pass": (lambda: ufp.uap(plain(), IMAGES, passes=1.5), ("passes", "whole number", "1.5")),  # type: ignore[arg-type]
    "half an image in a batch": (
        lambda: ufp.train("A", world().data.attacker, batch_size=10.5),  # type: ignore[arg-type]
        ("batch_size", "whole number", "10.5"),
    ),
    "numpy": (lambda: ufp.uap(plain(), IMAGES.numpy()), ("torch tensor", "got ndarray; torch.from_numpy makes one")),
    "numpy with labels": (
        lambda: ufp.LabelledImages(IMAGES.numpy(), LABELS, 10),  # type: ignore[arg-type]
        ("torch tensor", "got ndarray; torch.from_numpy makes one"),
    ),
    "a function as suspect": (
        lambda: ufp.verify(toy_kit(), linear),  # type: ignore[arg-type]
        ("expected a model, got function", "extract gives one, or give its path 'module:function'"),
    ),
    "three dimensions": (lambda: ufp.uap(plain(), IMAGES[0]), ("(N, c, h, w)", "(1, 8, 8)")),
    "no image": (lambda: ufp.uap(plain(), IMAGES[:0]), ("at least 1", "(0, 1, 8, 8)")),
    "labels of another number": (lambda: ufp.LabelledImages(IMAGES, LABELS[:3], 10), ("labels", "(4,)", "(3,)")),
    "labels as floats": (lambda: ufp.LabelledImages(IMAGES, LABELS.float(), 10), ("int64", "float32")),
    "labels beyond": (lambda: ufp.LabelledImages(IMAGES, LABELS, 3), ("0 to 2", "0 to 3")),
    "first use above 1": (lambda: plain()(IMAGES * 9), ("images", "[0, 1]", "4.5")),
    "probabilities": (lambda: ufp.wrap(nn.Sequential(linear(), nn.Softmax(1)), 10)(IMAGES), ("logits", "softmax")),
    "probabilities in a fit": (
        lambda: ufp.extract(ufp.wrap(nn.Sequential(linear(), nn.Softmax(1)), 10), IMAGES, budget=2),
        ("logits", "probabilities"),
    ),
    "other classes": (lambda: ufp.wrap(linear(7), 10)(IMAGES), ("(4, 10)", "(4, 7)", "n_classes=7")),
    "other shape": (lambda: plain()(torch.rand(2, 3, 5, 5)), ("takes images (2, 3, 5, 5)", "RuntimeError")),
    "NaN of a module": (lambda: ufp.wrap(Ruined(), 10)(IMAGES), ("finite", "NaN")),
    "accuracy of NaN": (lambda: ufp.accuracy(ruined(), world().data.test), ("model", "NaN or infinity for 90 of 90")),
    "no module": (lambda: ufp.wrap(lambda x: x, 10), ("torch module", "function")),  # type: ignore[arg-type]
    "no parameters": (lambda: ufp.wrap(nn.Flatten(), 10), ("parameters",)),
    "wrapped twice": (lambda: ufp.wrap(plain(), 10), ("as it is",)),
    "std of 0": (lambda: ufp.wrap(linear(), 10, std=0.0), ("std", "above 0")),
    "mean of 2, std of 3": (lambda: ufp.wrap(linear(), 10, [0.1, 0.2], [1, 1, 1]), ("one for each channel",)),
    "a plain module": (lambda: ufp.uap(linear(), IMAGES), ("victim", "Sequential", "wrap(module")),  # type: ignore[arg-type]
    "no model": (lambda: ufp.prune("victim", 0.5), ("model", "str")),  # type: ignore[arg-type]
    "classes of a model": (
        lambda: ufp.finetune(ufp.wrap(linear(7), 7), world().data.attacker),
        ("10 classes", "got one of 7"),
    ),
    "unknown data": (lambda: ufp.load("digit"), ("unknown data set 'digit'", "digits")),
    "a share of nothing": (lambda: ufp.load("digits", train_share=1.0), ("train_share", "1.0")),
    "unknown architecture": (lambda: ufp.train("resnt18", world().data.attacker), ("'resnt18'", "resnet18")),
    "a module as architecture": (lambda: ufp.train(linear(), world().data.attacker), ("factory", "Sequential")),
    "images without labels": (lambda: ufp.train("A", IMAGES), ("LabelledImages", "Tensor")),  # type: ignore[arg-type]
    "unknown optimizer": (lambda: ufp.train("A", world().data.attacker, optimizer="adm"), ("'adm'", "adam")),
    "no epochs": (lambda: ufp.train("A", world().data.attacker, epochs=0), ("epochs", "above 0")),
    "unknown attack": (lambda: ufp.extract(plain(), IMAGES, budget=2, attack="nockoff"), ("'nockoff'", "knockoff")),
    "a pool of another shape": (
        lambda: ufp.extract(world().victim, torch.rand(4, 1, 28, 28), budget=2),
        ("pool", "shape", "1x28x28", "RuntimeError", "scale them"),
    ),
    "a pool of another shape for a module": (
        lambda: ufp.extract(plain(), torch.rand(4, 3, 8, 8), budget=2),
        ("takes images (2, 3, 8, 8)", "RuntimeError"),
    ),
    "unknown labels": (lambda: ufp.extract(plain(), IMAGES, budget=2, labels="top"), ("'top'", "top3")),
    "no budget": (lambda: ufp.extract(plain(), IMAGES, budget=0), ("at least 1 query", "0")),
    "true labels of a tensor": (lambda: ufp.extract(plain(), IMAGES, budget=2, true_share=0.5), ("LabelledImages",)),
    "true labels beside crafted queries": (
        lambda: ufp.extract(plain(), world().data.attacker, budget=9, attack="jacobian", true_share=0.5),
        ("true_share", "jacobian"),
    ),
    "nothing pruned": (lambda: ufp.prune(plain(), 0.0), ("between 0 and 1", "0.0")),
    "recovery on nothing": (lambda: ufp.prune(plain(), 0.5, recovery_epochs=1), ("data", "recovery_epochs")),
    "last layer of a foreign module": (
        lambda: ufp.finetune(plain(), world().data.attacker, layers="last"),
        ("layers", "not known"),
    ),
    "INT8 twice": (lambda: ufp.int8(ufp.int8(plain(), IMAGES), IMAGES), ("INT8", "last modification")),
    "unknown algorithm": (lambda: ufp.uap(plain(), IMAGES, algorithm="deepfol"), ("'deepfol'", "deepfool")),
    "a ball of nothing": (lambda: ufp.uap(plain(), IMAGES, xi=0.0), ("xi", "got 0")),
    "an infinite ball": (lambda: ufp.uap(plain(), IMAGES, xi=float("inf")), ("xi", "finite", "got inf")),
    "a UAP of NaN": (lambda: ufp.uap(ruined(), IMAGES, xi=1.0), ("victim", "NaN or infinity for 4 of 4 images")),
    "a UAP of NaN, radius searched": (lambda: ufp.uap(ruined(), IMAGES), ("victim", "NaN or infinity for 4 of 4")),
    "a UAP of gradients that are NaN": (
        lambda: ufp.uap(ufp.wrap(Steep(), 10), IMAGES, xi=1.0, passes=1),
        ("victim", "finite gradients", "NaN or infinity"),
    ),
    "unknown method": (lambda: ufp.Fingerprint("weighted_chrun"), ("'weighted_chrun'", "weighted_churn")),
    "unknown output": (lambda: ufp.Fingerprint(output="logit"), ("'logit'", "probabilities")),
    "one point": (lambda: ufp.Fingerprint(n_points=1), ("n_points", "at least 2")),
    "UAPs of the paper's own radius": (
        lambda: ufp.Fingerprint("random", uap=UapConfig(xi_fractions=(0.5, 1.0))),
        ("uap.xi_fractions", "0.001 to 0.999", "got 1"),
    ),
    "no radius": (lambda: ufp.Fingerprint(uap=UapConfig(xi_fractions=())), ("uap.xi_fractions", "at least one")),
    "JPEG of no quality": (lambda: ufp.Fingerprint(uap=UapConfig(jpeg_quality=0)), ("uap.jpeg_quality", "1 to 100")),
    "a temperature of nothing": (lambda: ufp.Fingerprint(encoder=EncoderConfig(tau=0.01)), ("encoder.tau", "0.02")),
    "churn everywhere": (
        lambda: ufp.Fingerprint("churn", churn=ChurnConfig(largest_share=1.0)),
        ("churn.largest_share", "0.99", "got 1"),
    ),
    "score before fit": (lambda: ufp.Fingerprint().score(plain()), ("fit before score",)),
    "queries before fit": (lambda: ufp.Fingerprint().queries, ("fit before queries",)),
    "no stolen models": (lambda: fitted(independent=world().independent), ("stolen", "at least 2", "uap")),
    "one independent model": (
        lambda: fitted("weighted_errors", stolen=world().stolen, independent=world().independent[:1]),
        ("independent", "at least 2", "got 1"),
    ),
    "no siblings": (lambda: fitted("churn"), ("siblings", "at least 2", "churn")),
    "one model, no list": (lambda: fitted(stolen=world().victim), ("stolen", "a list of models")),  # type: ignore[arg-type]
    "siblings that agree": (lambda: fitted("churn", siblings=[world().victim] * 2), ("churn", "disagrees", "none")),
    "more points than images": (
        lambda: ufp.Fingerprint("agreement", n_points=10_000).fit(world().victim, world().data),
        ("n_points", "750", "10000"),
    ),
    "confidence of labels": (
        lambda: ufp.Fingerprint("confidence", output="label").fit(world().victim, world().data),
        ("output", "confidence", "label"),
    ),
    "data of another kind": (lambda: ufp.Fingerprint("sac").fit(plain(), IMAGES), ("what load gives", "Tensor")),  # type: ignore[arg-type]
    "a suspect of other classes": (
        lambda: fitted("natural_errors").score(ufp.wrap(linear(7), 7)),
        ("10 classes", "got one of 7"),
    ),
    "unknown preset": (lambda: ufp.evaluate("digts"), ("'digts'", "digits")),
    "unknown method of an evaluation": (lambda: ufp.evaluate(methods=["uaps"]), ("'uaps'", "uap")),
    "kit of nothing": (lambda: ufp.verify("no/such/kit", plain()), ("kit", "no/such/kit")),
    "a lambda as training": (
        lambda: ufp.enroll(world().victim, world().data, architecture="A", train=lambda *_: linear()),
        ("train", "top level", "lambda"),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_is_told_in_one_line(name: str) -> None:
    wrong, words = WRONG[name]
    with pytest.raises(ufp.UserError) as refused:
        wrong()
    message = str(refused.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


def test_right_use_of_the_same_is_not_refused() -> None:
    """The checks let pass what is on their edge: a single image of zeros, one of ones, a soft output that is none."""
    edge = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)])
    assert ufp.uap(plain(), edge, xi=0.1, passes=1).v.shape == (1, 1, 8, 8)
    log_softmax = ufp.wrap(nn.Sequential(linear(), nn.LogSoftmax(1)), 10)
    assert log_softmax(edge).shape == (2, 10)
    assert ufp.extract(plain(), edge, budget=1, epochs=1, width=1).queries == 1


def test_a_score_that_is_no_number_is_told() -> None:
    """A suspect may be ruined after its first use."""
    fingerprint, suspect = fitted("natural_errors"), plain()
    fingerprint.score(suspect)
    with torch.no_grad():
        next(suspect.parameters()).fill_(torch.nan)
    with pytest.raises(ufp.UserError, match="NaN or infinity"):
        fingerprint.score(suspect)
