"""A kit of churn points on disk comes back as it was, and is refused where its parts do not fit."""

import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from churn_kits import KITS
from forgery import forge, refused, tamper
from kits import BUDGETS, N_CLASSES, SETS, answers, make_test_kit
from safetensors.torch import load_file, save_file
from torch import Tensor

from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.io import TENSORS, load_kit, save_kit
from uapfp_dist.verification.kit.kit import Kit


def test_a_kit_comes_back_as_it_was(kit: Kit, tmp_path: Path) -> None:
    assert save_kit(kit, tmp_path / "kit") == kit.digest
    again = load_kit(tmp_path / "kit", kit.digest)
    assert again.churn is not None
    assert kit.churn is not None
    for field in fields(kit.churn):
        mine, theirs = getattr(kit.churn, field.name), getattr(again.churn, field.name)
        assert torch.equal(mine, theirs)
        assert mine.dtype == theirs.dtype
    assert again.info == kit.info
    suspects = [SuspectResponses("a", answers(kit, 0.7), PROBABILITIES, point_set=2, n_churn_points=BUDGETS[1])]
    assert repr(judge(kit, suspects)) == repr(judge(again, suspects))


@pytest.mark.parametrize("checked", [False, True])
def test_kits_of_earlier_versions_are_written_and_read_as_before(checked: bool, tmp_path: Path) -> None:
    base = make_test_kit()
    kit = replace(base, input_check=KITS["full"].input_check) if checked else base
    if checked:  # of as many models as the older kit has
        check = kit.input_check
        assert check is not None
        kit = replace(kit, input_check=replace(check, agrees=check.agrees[: len(base.info.models)].contiguous()))
    save_kit(kit, tmp_path / "kit")
    assert f'"version":{2 if checked else 1}' in (tmp_path / "kit" / "kit.json").read_text()
    assert not [name for name in load_file(tmp_path / "kit" / TENSORS) if name.startswith("churn")]
    assert load_kit(tmp_path / "kit").churn is None


def test_any_part_changed_has_another_digest(kit: Kit, tmp_path: Path) -> None:
    assert kit.churn is not None
    digests = {kit.digest}
    for i, field in enumerate(fields(kit.churn)):
        value = getattr(kit.churn, field.name)
        changed = ~value if value.dtype == torch.bool else value + 1
        digests.add(save_kit(replace(kit, churn=replace(kit.churn, **{field.name: changed})), tmp_path / str(i)))
    assert len(digests) == 1 + len(fields(kit.churn))


def set_to(at: tuple[int, ...], value: float) -> Callable[[Tensor], Tensor]:
    """One element changed."""

    def change(tensor: Tensor) -> Tensor:
        tensor[at] = value
        return tensor

    return change


def without(name: str) -> Callable[[Path], None]:
    """One tensor left out."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        del tensors[name]
        save_file(tensors, folder / TENSORS)
        forge(folder)

    return apply


def said(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """What the index says of the kit changed."""
    return lambda folder: forge(folder, lambda body: change(body["info"]) and None)


def of_method(method: str) -> Callable[[Path], None]:
    """Another method decides in one format."""
    return said(lambda info: info["decided_by"]["hard"].update(method=method))


SPOILT: dict[str, tuple[Callable[[Path], None], str]] = {
    **{f"without {name}": (without(f"churn_{name}"), name) for name in ("points", "budgets", "weights", "intercepts")},
    **{f"without {name}": (without(f"churn_{name}"), name) for name in ("committee", "agrees")},
    "sets overlap": (tamper("churn_points", lambda t: t[:1].repeat(SETS, 1)), "overlap"),
    "a point twice": (tamper("churn_points", lambda t: set_to((0, 0), int(t[0, 1]))(t)), "overlap"),
    "a point outside": (tamper("churn_points", set_to((0, 0), 10**6)), "outside the images"),
    "a point before": (tamper("churn_points", set_to((0, 0), -1)), "outside the images"),
    "points in a row": (tamper("churn_points", lambda t: t.flatten()), "do not fit"),
    "no points": (tamper("churn_points", lambda t: t[:, :0]), "do not fit"),
    "no sets": (tamper("churn_points", lambda t: t[:0]), "do not fit"),
    "points of another type": (tamper("churn_points", lambda t: t.int()), "churn_points"),
    "budgets descend": (tamper("churn_budgets", lambda t: t.flip(0)), "numbers of churn points"),
    "budgets repeat": (tamper("churn_budgets", set_to((0,), BUDGETS[1])), "numbers of churn points"),
    "a budget of nothing": (tamper("churn_budgets", set_to((0,), 0)), "numbers of churn points"),
    "a budget of too much": (tamper("churn_budgets", set_to((2,), 99)), "numbers of churn points"),
    "not all are sent": (tamper("churn_budgets", set_to((2,), 11)), "numbers of churn points"),
    "no budgets": (tamper("churn_budgets", lambda t: t[:0]), "do not fit"),
    "one number as budgets": (tamper("churn_budgets", lambda t: t[0]), "do not fit"),
    "weights that are no numbers": (tamper("churn_weights", set_to((0, 0, 0), math.nan)), "not finite"),
    "endless weights": (tamper("churn_weights", set_to((0, 0, 0), math.inf)), "not finite"),
    "weights beyond": (tamper("churn_weights", set_to((0, 0, 11), 1.0)), "not sent"),
    "weights of a set fewer": (tamper("churn_weights", lambda t: t[:, 1:]), "churn_weights"),
    "weights of another type": (tamper("churn_weights", lambda t: t.float()), "churn_weights"),
    "intercepts that are no numbers": (tamper("churn_intercepts", set_to((0, 0), math.nan)), "not finite"),
    "intercepts fewer": (tamper("churn_intercepts", lambda t: t[1:]), "churn_intercepts"),
    "labels above": (tamper("churn_committee", set_to((0, 0, 0), N_CLASSES)), "no class"),
    "labels below": (tamper("churn_committee", set_to((0, 0, 0), -1)), "no class"),
    "a sibling fewer": (tamper("churn_committee", lambda t: t[..., 1:]), "siblings"),
    "no siblings": (tamper("churn_committee", lambda t: t[..., :0]), "siblings"),
    "a committee in a row": (tamper("churn_committee", lambda t: t.flatten()), "do not fit"),
    "nobody disagrees": (tamper("churn_committee", lambda t: t[..., :1].repeat(1, 1, t.shape[2])), "disagrees"),
    "agreements of a model fewer": (tamper("churn_agrees", lambda t: t[1:]), "churn_agrees"),
    "agreements as numbers": (tamper("churn_agrees", lambda t: t.long()), "churn_agrees"),
    "errors decide": (of_method("weighted_errors"), "method that decides"),
    "the uap decides": (of_method("uap"), "method that decides"),
    "what is not learnt decides": (of_method("churn"), "method that decides"),
    "no method that is known": (of_method("magic"), "decided_by"),
    "nothing said of churn": (said(lambda info: info.pop("churn")), "churn"),
    "siblings miscounted": (said(lambda info: info["churn"].update(siblings=4)), "siblings"),
    "siblings as text": (said(lambda info: info["churn"].update(siblings="many")), "siblings"),
    "siblings unsaid": (said(lambda info: info["churn"].pop("siblings")), "siblings"),
    "a gate as text": (said(lambda info: info["churn"].update(gate="open")), "gate"),
    "something strange": (said(lambda info: info["churn"].update(strange=1)), "'strange' is unknown"),
    "rates of no set": (said(lambda info: info["churn"]["rates"][0].update(point_set=SETS)), "rates of a set"),
    "rates of no budget": (said(lambda info: info["churn"]["rates"][0].update(n_points=5)), "rates of a set"),
    "rates that move a terminal": (
        said(lambda info: info["churn"]["rates"][0].update(power={"\x1b[2J": [1, 2]})),
        "cannot be printed",
    ),
    "version 2": (lambda folder: forge(folder, lambda body: body.update(version=2)), "none of a kit's"),
    "without an input check": (without("input_check"), "input_check"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_parts_that_do_not_fit_are_refused(name: str, folder: Path) -> None:
    """A digest says who wrote it, not that it makes sense."""
    spoil, word = SPOILT[name]
    spoil(folder)
    refused(folder, word)


def test_a_light_kit_takes_no_learnt_method(tmp_path: Path) -> None:
    save_kit(KITS["light"], tmp_path / "kit")
    of_method("weighted_churn")(tmp_path / "kit")
    refused(tmp_path / "kit", "method that decides")


def test_a_kit_without_churn_takes_no_method_of_it(tmp_path: Path) -> None:
    save_kit(make_test_kit(), tmp_path / "kit")
    of_method("weighted_churn")(tmp_path / "kit")
    refused(tmp_path / "kit", "method that decides")
