"""Who may see which image: the cuts of a data set, and what attackers send."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from image_sets import class_sorted

from uapfp_dist.data import Dataset, Splits, make_splits
from uapfp_dist.data.splits import attack_pool, index_digest, outside_of, training_set
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.response_format import LABEL
from uapfp_dist.tasks.modification_specs import Prune
from uapfp_dist.tasks.specs import DataSpec, Extracted, ModelSpec, Modified, Trained

OUTSIDE = (0.5, 0.2, 0.3)


def cut(dataset: Dataset, seed: int = 0) -> Splits:
    """The splits of `dataset` under `seed`."""
    return make_splits(dataset, DataSpec(dataset.name, dataset.digest, seed, 0.8, OUTSIDE))


@pytest.fixture(params=[None, 2400], ids=["no official test set", "official test set"])
def sorted_data(request: pytest.FixtureRequest) -> Dataset:
    """With and without an official test set."""
    return class_sorted(request.param)


def test_splits_share_no_image(sorted_data: Dataset) -> None:
    """D, PROBE, ATTACK and EVAL are disjoint and use up the data."""
    splits = cut(sorted_data)
    parts = {name: set(getattr(splits, name).tolist()) for name in ("d", "probe", "attack", "eval")}
    for one, other in combinations(parts, 2):
        assert not parts[one] & parts[other], (one, other)
    assert set.union(*parts.values()) == set(range(3000))
    assert [len(parts[name]) for name in ("d", "probe", "attack", "eval")] == [2400, 300, 120, 180]


def test_victim_trains_on_half_of_d(sorted_data: Dataset) -> None:
    """D_v: half of D, every image once."""
    splits = cut(sorted_data)
    assert len(splits.d_v.unique()) == len(splits.d_v) == len(splits.d) // 2
    assert bool(torch.isin(splits.d_v, splits.d).all())


def test_official_training_images_stay_training_images() -> None:
    """D is the official training set; everything else comes from the official test set."""
    assert torch.equal(cut(class_sorted(2400)).d, torch.arange(2400))


def test_data_sorted_by_class_give_every_class_in_every_split(sorted_data: Dataset) -> None:
    """In about the proportions of the whole: order on disk carries no meaning."""
    splits = cut(sorted_data)
    homologous = training_set(splits, Trained("homologous_set"), 1)
    for index in (splits.d_v, homologous, splits.probe, splits.attack, splits.eval):
        counts = sorted_data.labels[index].bincount(minlength=10)
        assert int(counts.min()) > 0
        assert int(counts.max()) < 0.3 * len(index)


def test_cuts_follow_from_the_seed(sorted_data: Dataset) -> None:
    """The same digests for the same seed, others for another."""
    assert cut(sorted_data, 1).digests() == cut(sorted_data, 1).digests()
    again, other = cut(sorted_data, 1).digests(), cut(sorted_data, 2).digests()
    assert again["d_v"] != other["d_v"]
    assert again["probe"] != other["probe"]


def test_shares_that_leave_a_part_without_images_are_refused() -> None:
    """They must sum to 1 and give each part an image."""
    dataset = class_sorted(None)
    for shares in ((0.5, 0.2, 0.2), (1.0, 0.0, 0.0)):
        spec = DataSpec(dataset.name, dataset.digest, 0, 0.8, shares)
        with pytest.raises(UserError, match="outside_shares"):
            make_splits(dataset, spec)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 1.0])
def test_chosen_overlap_is_exact(digits_splits: Splits, overlap: float) -> None:
    """As many images of D_homo as requested lie in D_v; all lie in D, none twice."""
    index = training_set(digits_splits, Trained("homologous_set", overlap), 5)
    shared = int(torch.isin(index, digits_splits.d_v).sum())
    assert shared == round(overlap * len(digits_splits.d_v))
    assert len(index.unique()) == len(index) == len(digits_splits.d_v)
    assert bool(torch.isin(index, digits_splits.d).all())


def test_natural_overlap_is_about_half(digits_splits: Splits) -> None:
    """A uniform sample of D: D_v is half of D, so half of D_homo lies in it."""
    size = len(digits_splits.d_v)
    sets = [training_set(digits_splits, Trained("homologous_set"), seed) for seed in range(20)]
    shares = [float(torch.isin(index, digits_splits.d_v).double().mean()) for index in sets]
    assert all(len(index.unique()) == len(index) == size for index in sets)
    # Hypergeometric: standard deviation of one share .5 / sqrt(2 size) = .013.
    assert max(abs(share - 0.5) for share in shares) < 0.06
    assert sum(shares) / 20 == pytest.approx(0.5, abs=0.015)
    assert len({index_digest(index) for index in sets}) == 20


def test_same_data_models_train_on_exactly_d_v(digits_splits: Splits) -> None:
    """Whatever their seed."""
    assert torch.equal(training_set(digits_splits, Trained("victim_set"), 9), digits_splits.d_v)


def test_attackers_never_send_images_that_their_victim_was_trained_on(digits_plan: Plan, digits_splits: Splits) -> None:
    """Neither those of our victim nor those of the other victims, whose training sets are others."""
    victims = set()
    for member in digits_plan.members:
        origin = member.spec.origin
        if isinstance(origin, Extracted):
            assert isinstance(origin.victim.origin, Trained)
            pool = attack_pool(digits_splits, origin)
            trained_on = training_set(digits_splits, origin.victim.origin, origin.victim.seed)
            assert not bool(torch.isin(pool, trained_on).any())
            assert bool(torch.isin(pool, digits_splits.d).all())
            assert len(pool) + len(trained_on) == len(digits_splits.d)
            victims.add(index_digest(trained_on))
    assert len(victims) == 3


def stolen_from(victim: ModelSpec) -> ModelSpec:
    """A model extracted from it by knockoff."""
    origin = Extracted(victim, "knockoff", LABEL, 100, 0, 1.0)
    return replace(victim, architecture="C", origin=origin, gate=None)


@pytest.mark.parametrize("role", ["victim", "other_victim"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_thief_of_a_thief_sends_what_the_root_victim_was_not_trained_on(
    depth: int, role: str, digits_plan: Plan, digits_splits: Splits
) -> None:
    """However many thefts lie between: the same images as the first thief's, with an overlap too."""
    root = next(m.spec for m in digits_plan.members if m.role == role)
    assert isinstance(root.origin, Trained)
    direct, last = stolen_from(root), root
    for _ in range(depth):
        last = stolen_from(last)
    assert isinstance(direct.origin, Extracted)
    assert isinstance(last.origin, Extracted)
    own = training_set(digits_splits, root.origin, root.seed)
    assert torch.equal(attack_pool(digits_splits, last.origin), outside_of(digits_splits.d, own))
    pools = [attack_pool(digits_splits, replace(origin, overlap=0.25), 3) for origin in (direct.origin, last.origin)]
    assert torch.equal(*pools)


def test_modified_models_are_no_victims(digits_plan: Plan, digits_splits: Splits) -> None:
    """At any depth: what they were trained on is the attacker's own data, too."""
    victim = next(m.spec for m in digits_plan.members if m.role == "victim")
    modified = replace(victim, origin=Modified(victim, Prune(0.5)))
    for last in (stolen_from(modified), stolen_from(stolen_from(modified))):
        assert isinstance(last.origin, Extracted)
        with pytest.raises(UserError, match=r"^extraction: expected a victim trained .* got a modified one$"):
            attack_pool(digits_splits, last.origin)
