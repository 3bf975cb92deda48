"""Was that model stolen from mine? Fingerprints of neural networks, on any torch module that gives logits.

Images are float tensors (N, c, h, w) in [0, 1], labels int64 tensors (N,); a model takes such images and gives logits.
Wrong input raises a `UserError` with a message of one line. Nothing here imports Ray or MLflow before it needs them.

    load                    load a data set in named parts: victim_set, pool, probe, attacker, test, homologous(i)
    wrap                    make a model of any torch module
    train                   train a model, by the name of its architecture or by your factory
    accuracy                measure the accuracy of a model
    extract                 steal a model: by any attack and response format, within a query budget
    finetune, prune, int8, distill, adversarial_training
                            modify a model, as an attacker does to hide that it is stolen
    uap                     compute one universal adversarial perturbation
    Fingerprint             any fingerprint method by name: fit once, score every suspect
    conformal_p             turn a score, and those of negatives, into a p-value
    enroll, verify          make a kit, fixed beforehand; judge a suspect by it: a model, a file, an API
    evaluate                run a whole evaluation on Ray
    Data, LabelledImages, UserError
                            what these return and raise

The method is that of Peng et al., "Fingerprinting Deep Neural Networks Globally via Universal Adversarial
Perturbations", CVPR 2022.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uapfp_dist.api.data import Data, load
    from uapfp_dist.api.evaluating import evaluate
    from uapfp_dist.api.fingerprint import Fingerprint
    from uapfp_dist.api.images import LabelledImages
    from uapfp_dist.api.model import wrap
    from uapfp_dist.api.modifying import adversarial_training, distill, finetune, int8, prune
    from uapfp_dist.api.perturbing import uap
    from uapfp_dist.api.training import accuracy, extract, train
    from uapfp_dist.api.verifying import enroll, verify
    from uapfp_dist.errors import UserError
    from uapfp_dist.statistics.conformal import conformal_p

__version__ = "0.1.0"
__all__ = [
    "Data",
    "Fingerprint",
    "LabelledImages",
    "UserError",
    "accuracy",
    "adversarial_training",
    "conformal_p",
    "distill",
    "enroll",
    "evaluate",
    "extract",
    "finetune",
    "int8",
    "load",
    "prune",
    "train",
    "uap",
    "verify",
    "wrap",
]

_WHERE = {
    "api.data": ("Data", "load"),
    "api.evaluating": ("evaluate",),
    "api.fingerprint": ("Fingerprint",),
    "api.images": ("LabelledImages",),
    "api.model": ("wrap",),
    "api.modifying": ("adversarial_training", "distill", "finetune", "int8", "prune"),
    "api.perturbing": ("uap",),
    "api.training": ("accuracy", "extract", "train"),
    "api.verifying": ("enroll", "verify"),
    "errors": ("UserError",),
    "statistics.conformal": ("conformal_p",),
}
"""Module to its names: imported when one is first used, because torch takes seconds."""


def __getattr__(name: str) -> object:
    for module, names in _WHERE.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
