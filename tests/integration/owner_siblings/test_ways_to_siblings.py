"""Siblings come by one way, a function that can be found or a folder; without any their group is left out."""

from dataclasses import replace
from pathlib import Path

import pytest
from owners_net import OwnersNet
from owners_siblings import INDEX, owner
from small_enrollment import SMALL, quiet, small_config, small_plan

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.response_format import PROBABILITIES
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.enroll import enroll_locally
from uapfp_dist.verification.enrollment.owner_model import (
    OwnerSiblings,
    owner_model_of,
)


@pytest.mark.parametrize("given", ["neither", "no trained_on"])
def test_without_siblings_their_group_and_churn_are_left_out(
    given: str, digits: Dataset, victim: OwnersNet, tmp_path: Path
) -> None:
    """And the enrolment and the kit say so; what was asked for by name is an error."""
    siblings = OwnerSiblings() if given == "neither" else OwnerSiblings("owners_training:train")
    index = INDEX if given == "neither" else None
    model = owner_model_of(victim, "owners_net:make", index, siblings)
    plan = small_plan(digits, model.victim)
    assert (plan.churn, plan.siblings, plan.requirements.n_committee) == (None, [], 0)
    assert plan.requirements.groups == ("homologous", "same_data", "other_victim")
    light = {name: getattr(EnrollConfig(), name) for name in ("n_train", "n_train_piracy", "n_test_piracy")}
    for wrong, argument in (({"size": "light", **light}, "size"), ({"groups": ("homologous", "sibling")}, "groups")):
        with pytest.raises(UserError, match="give train or siblings, and trained_on") as caught:
            small_plan(digits, model.victim, **wrong)
        assert caught.value.argument == argument
    if given == "neither":
        progress = quiet()
        requirements = replace(SMALL, labels=(PROBABILITIES,))
        kit = enroll_locally(
            small_config(), requirements, store=tmp_path, dataset=digits, owner_model=model, progress=progress
        )
        assert "no siblings: weighted_churn and the group sibling are left out" in progress.out.getvalue()  # type: ignore[attr-defined]
        assert kit.churn is None
        assert any(limit.startswith("No siblings") for limit in kit.info.limits)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        ("train", "expected package.module:function"),
        ("nobody:train", "nobody"),
        ("owners_training:nothing", "nothing"),
        ("owners_training:NO_FUNCTION", "got 3"),
    ],
)
def test_functions_that_cannot_be_found_are_refused_first(function: str, word: str, victim: OwnersNet) -> None:
    with pytest.raises(UserError, match=f"^train {function}: .*{word}"):
        owner(victim, train=function)


def test_one_way_is_enough(victim: OwnersNet, folder: Path) -> None:
    with pytest.raises(UserError, match="got both"):
        owner(victim, "owners_training:train", folder)
