"""Configurations that cannot be are refused before any work, in one line that names the field."""

import math
from collections.abc import Iterator
from dataclasses import is_dataclass, replace
from typing import Any

import pytest

from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import Config
from uapfp_dist.config.validation import check, check_evaluation
from uapfp_dist.errors import UserError
from uapfp_dist.response_format import ResponseFormat


def changed(part: str, **fields: object) -> Config:
    """The digits preset with some fields of one part changed."""
    config = preset("digits")
    return replace(config, **{part: replace(getattr(config, part), **fields)})


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (changed("data", name="cifar"), "cifar"),
        (changed("zoo", architectures=("B", "Z")), "Z"),
        (changed("zoo", architectures=()), "architecture"),
        (changed("zoo", victim_architecture="Z"), "Z"),
        (changed("zoo", optimizers=("adagrad",)), "adagrad"),
        (changed("zoo", n_piracy=5), "n_piracy"),
        (changed("zoo", n_homologous=6), "n_homologous"),
        (changed("zoo", overlap=1.5), "overlap"),
        (changed("extraction", attacks=("gan",)), "gan"),
        (changed("extraction", budget=0.0), "budget"),
        (changed("uap", xi_fractions=(0.5, 1.5)), "xi_fractions"),
        (changed("uap", xi_grid=()), "xi_grid"),
        (changed("uap", n_uaps=0), "n_uaps"),
        (changed("fingerprint", n_test_views=21), "n_test_views"),
        (changed("fingerprint", n_candidates=59), "n_candidates"),
        (changed("fingerprint", n_natural=1001), "n_natural: expected at most fingerprint.max_natural, 1000, .* 1001"),
        (changed("fingerprint", max_natural=99), "n_natural: expected at most fingerprint.max_natural, 99"),
        (changed("encoder", tau=0.001), "tau"),
        (changed("verdict", methods=("magic",)), "magic"),
        (changed("verdict", alpha=0.0), "alpha"),
        (changed("verdict", train_pool=4), "train_pool"),
        (changed("modifications", n_piracy=13), "n_piracy"),
        (changed("modifications", prune=(0.5, 1.0)), "prune"),
        (changed("modifications", fine_tune=("first",)), "first"),
        (changed("modifications", adversarial_iterations=0), "adversarial_iterations"),
        (changed("modifications", distill_to="Z"), "Z"),
        (changed("studies", recoveries=(0.9, 0.8)), "recoveries"),
        (changed("studies", overlaps=(1.1,)), "overlaps"),
        (changed("siblings", n_committee=1), "n_committee: expected .* at least 2"),
        (changed("siblings", n_committee=0), "n_committee: expected .* at least 2"),
        (changed("siblings", n_committee=0, n_piracy=0), "n_committee: expected siblings for churn"),
        (changed("siblings", gate=1.5), "siblings.gate"),
        (changed("churn", largest_share=1.0), "largest_share"),
        (changed("churn", budgets=(0,)), "churn.budgets"),
        (changed("studies", n_points=(1,)), "n_points"),
    ],
    ids=lambda value: value if isinstance(value, str) else "digits",
)
def test_impossible_configurations_are_refused_before_any_work(broken: Config, word: str) -> None:
    """In one line that names the field or the value."""
    with pytest.raises(UserError, match=word) as caught:
        check(broken)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [("verdict", {"n_calibrate": 24}, {"n_calibrate": 23}), ("zoo", {"n_homologous": 24}, {"n_homologous": 25})],
)
def test_an_evaluation_calibrates_with_as_many_as_asked_for(
    part: str, least: dict[str, int], most: dict[str, int]
) -> None:
    """Or is refused; an enrolment, which counts its models otherwise, is not."""
    broken = changed(part, **least)
    check(broken)
    with pytest.raises(UserError, match=r"^verdict\.n_calibrate: expected at most \d+, .* got \d+; lower it") as caught:
        check_evaluation(broken)
    assert caught.value.argument == "verdict.n_calibrate"
    check_evaluation(changed(part, **most))


def _numbers(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all fields of numbers."""
    for name, value in vars(config).items():
        if is_dataclass(value) and not isinstance(value, ResponseFormat):
            yield from _numbers(value, (*path, name))
        values = value if isinstance(value, tuple) else (value,)
        if values and all(type(one) in (int, float) for one in values):
            yield (*path, name)


def _with_nan(config: Any, path: tuple[str, ...]) -> Any:
    value = getattr(config, path[0])
    if path[1:]:
        return replace(config, **{path[0]: _with_nan(value, path[1:])})
    return replace(config, **{path[0]: (*value[:-1], math.nan) if isinstance(value, tuple) else math.nan})


@pytest.mark.parametrize("path", list(_numbers(preset("tiny_imagenet-small"))), ids=".".join)
def test_every_number_has_its_range(path: tuple[str, ...]) -> None:
    """What is no number is refused before any work, whichever field it stands in."""
    with pytest.raises(UserError, match=f"{path[-1]}: expected|data.size") as caught:
        check(_with_nan(preset("tiny_imagenet-small"), path))
    assert "\n" not in str(caught.value)


def test_unknown_preset_lists_the_known_ones() -> None:
    """Whoever mistypes sees what there is."""
    with pytest.raises(UserError, match=r"enormous.*cifar10, cifar10-small, digits, digits-large, fashion_mnist"):
        preset("enormous")
