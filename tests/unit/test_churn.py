"""Churn points: selection against slow references, small changes of images, what is learnt from labels."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from system import context_on, tiny, tiny_plan, tiny_with_siblings
from torch import Tensor, nn

from uapfp_dist.config.schema import ModificationConfig, StudyConfig
from uapfp_dist.data import Dataset, Splits, make_splits
from uapfp_dist.execution.churn_artifacts import churn_artifact, labels_artifact, read_churn, read_labels
from uapfp_dist.execution.context import TaskContext
from uapfp_dist.execution.make_model import GateError
from uapfp_dist.execution.steps import churn_step, perform_task
from uapfp_dist.fingerprints.blocks import CHURN, CHURN_NATURAL, CHURN_RANDOM, CHURN_UAP, RANDOM, UAP, BlockKey
from uapfp_dist.fingerprints.churn import (
    ChurnPoints,
    NoChurnError,
    all_points,
    choose_points,
    churn_labels,
    find_churn,
    find_twins,
)
from uapfp_dist.fingerprints.churn_weights import RIDGE, Candidates, fit_churn_weights
from uapfp_dist.fingerprints.probe_data import Block, Probe
from uapfp_dist.fingerprints.variants import Variants
from uapfp_dist.models.blackbox import NotFiniteError
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Artifact, Store
from uapfp_dist.tasks.members import Role
from uapfp_dist.tasks.method_configs import ChurnConfig
from uapfp_dist.tasks.specs import ModelSpec

N_IMAGES, N_SIBLINGS, N_CLASSES, SIDE = 30, 10, 4, 8
CONFIG = ChurnConfig(pool_size=170, candidates_per_image=2, max_points=60, n_points=20)
STILL = ChurnConfig(rotation=0.0, shift=0.0, zoom=0.0)


class Linear(nn.Module):
    """A net whose labels differ from those of its like on many images."""

    def __init__(self, seed: object, shared: float = 0.8) -> None:
        super().__init__()
        common, own = (torch.randn(N_CLASSES, SIDE * SIDE, generator=torch_rng("linear", s)) for s in ("all", seed))
        self.weight = nn.Parameter(shared * common + (1 - shared) * own)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return (images - 0.5).flatten(1) @ self.weight.T


VICTIM, SIBLINGS = Linear("victim"), [Linear(i) for i in range(N_SIBLINGS)]
IMAGES = torch.rand(N_IMAGES, 1, SIDE, SIDE, generator=torch_rng("images"))


def found(config: ChurnConfig = CONFIG, seed: str = "seed") -> ChurnPoints:
    """Of the linear nets."""
    return find_churn(VICTIM, SIBLINGS, IMAGES, config, seed)


def same(one: ChurnPoints, two: ChurnPoints) -> bool:
    """Bit for bit."""
    pairs = [(getattr(one, name), getattr(two, name)) for name in ("images", "labels", "committee", "base")]
    counts = [(each.pool_size, each.n_departures) for each in (one, two)]
    return all(torch.equal(a, b) for a, b in pairs) and counts[0] == counts[1]


# --- selection


def slow_choice(margins: Sequence[float], base: Sequence[int], per_image: int) -> list[int]:
    """One after the other, the largest margin first; equal ones in their order."""
    kept, used = [], Counter[int]()
    for i in sorted(range(len(margins)), key=lambda i: -margins[i]):
        if used[base[i]] < per_image:
            used[base[i]] += 1
            kept.append(i)
    return kept


@pytest.mark.parametrize("per_image", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 400])
def test_points_are_chosen_as_one_would_by_hand(n: int, per_image: int) -> None:
    rng = torch_rng("choice", n, per_image)
    margins = torch.randint(0, 12, (n,), generator=rng) / 12  # many ties
    base = torch.randint(0, 1 + n // 5, (n,), generator=rng)
    chosen = choose_points(margins, base, per_image)
    assert chosen.tolist() == slow_choice(margins.tolist(), base.tolist(), per_image)
    assert max(Counter(base[chosen].tolist()).values(), default=0) <= per_image
    assert margins[chosen].diff().le(0).all()


def one_by_one(config: ChurnConfig, seed: str) -> tuple[list[tuple[float, int, int, list[int], Tensor]], int]:
    """(margin, base, label, committee, image in 8 bits) of every departure, one by one, and the size of the pool."""
    n_variants = math.ceil(config.pool_size / N_IMAGES) - 1
    pool = [(i, IMAGES[i]) for i in range(N_IMAGES)]
    for v in range(n_variants):
        variants = Variants.draw(N_IMAGES, config, torch_rng(seed, "variants", v))
        pool += [(i, variants.apply(IMAGES[i : i + 1], slice(i, i + 1))[0]) for i in range(N_IMAGES)]
    departures = []
    for base, image in pool:
        in_8_bits = (image * 255).round().to(torch.uint8)
        sent = in_8_bits.float() / 255
        with torch.no_grad():
            p = VICTIM(sent[None]).softmax(1)[0]
            committee = [int(sibling(sent[None]).argmax()) for sibling in SIBLINGS]
        label = int(p.argmax())
        if sum(other == label for other in committee) <= round(config.largest_share * N_SIBLINGS, 9):
            first, second = p.sort(descending=True).values[:2].tolist()
            departures.append((first - second, base, label, committee, in_8_bits))
    return departures, len(pool)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_churn_points_are_those_of_a_loop_over_the_pool(share: float) -> None:
    """Natural images and their variants in 8 bits; three of ten siblings that agree are few enough at .3."""
    config = replace(CONFIG, largest_share=share)
    slow, pool_size = one_by_one(config, "seed")
    fast = found(config)
    assert fast.pool_size == pool_size == 180
    assert fast.n_departures == len(slow) > 0
    kept = slow_choice([d[0] for d in slow], [d[1] for d in slow], config.per_image)[: config.max_points]
    assert fast.base.tolist() == [slow[i][1] for i in kept]
    assert fast.labels.tolist() == [slow[i][2] for i in kept]
    assert fast.committee.tolist() == [slow[i][3] for i in kept]
    assert torch.equal(fast.images, torch.stack([slow[i][4] for i in kept]))
    assert fast.images.dtype == torch.uint8
    assert fast.n_bases == len({slow[i][1] for i in kept})


def test_points_have_the_victims_labels_and_those_of_few_siblings() -> None:
    """What the points say of victim and committee, these say again when they are asked for labels."""
    points = found()
    labels = {name: churn_labels(net, {CHURN: points})[CHURN] for name, net in enumerate([VICTIM, *SIBLINGS])}
    assert torch.equal(labels[0], points.labels)
    assert torch.equal(torch.stack([labels[i + 1] for i in range(N_SIBLINGS)], dim=1), points.committee)
    share = (points.committee == points.labels[:, None]).float().mean(1)
    assert float(share.max()) <= 0.3 + 1e-6
    assert 0 < len(points.images) <= CONFIG.max_points
    assert max(Counter(points.base.tolist()).values()) <= CONFIG.per_image


@pytest.mark.parametrize("batch", [1, 7, 10**6])
def test_the_batch_changes_no_point(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = found()
    assert same(before, found())
    assert not same(before, found(seed="other"))
    monkeypatch.setattr("uapfp_dist.fingerprints.churn.QUERY_BATCH", batch)
    assert same(before, found())


def test_a_smaller_number_of_points_is_the_beginning_of_a_larger() -> None:
    few, many = found(replace(CONFIG, max_points=10)), found()
    assert len(few.images) == 10
    assert torch.equal(few.images, many.images[:10])


def test_a_pool_no_larger_than_probe_is_probe_as_it_is() -> None:
    """The pool is filled with variants, each image as often as another, up to a largest number of them."""
    for size, variants, whole in ((1, 40, 30), (30, 40, 30), (31, 40, 60), (10**6, 2, 90), (10**6, 0, 30)):
        assert found(replace(CONFIG, pool_size=size, max_variants=variants)).pool_size == whole


def test_a_victim_that_says_what_its_siblings_say_has_no_points() -> None:
    """Said in one line, with what to do."""
    with pytest.raises(
        NoChurnError, match="departs from its 3 siblings, found none among 180; take a larger"
    ) as caught:
        find_churn(VICTIM, [VICTIM] * 3, IMAGES, CONFIG, "seed")
    assert "\n" not in str(caught.value)
    assert find_twins(VICTIM, [VICTIM] * 3, IMAGES, None, CONFIG) == {}


def test_a_victim_without_numbers_is_refused() -> None:
    broken = Linear("victim")
    with torch.no_grad():
        broken.weight[0, 0] = math.nan
    with pytest.raises(NotFiniteError, match="victim: expected numbers"):
        find_churn(broken, SIBLINGS, IMAGES, CONFIG, "seed")


def probe_of(uaps: int, norm: float) -> Probe:
    """A probe of two radii, with as many universal as random vectors, and others that no pool takes."""
    index, blocks = torch.zeros(1, dtype=torch.int64), {}
    for kind in (UAP, RANDOM):
        for radius in (0.5, 0.75):
            vectors = torch.randn(uaps, 1, SIDE, SIDE, generator=torch_rng("vectors", kind, radius)) * norm
            blocks[BlockKey(kind, radius)] = Block(vectors, index, index, index[None])
    blocks[BlockKey(RANDOM, 1.0)] = Block(torch.full((1, 1, SIDE, SIDE), 9.0), index, index, index[None])
    return Probe(IMAGES[:1], index[None], blocks, IMAGES[:1], index, 1)


def test_twins_are_the_same_search_in_other_pools() -> None:
    """PROBE as it is; moved by every universal vector; by as many random ones. Nothing moved by zero is natural."""
    moved = find_twins(VICTIM, SIBLINGS, IMAGES, probe_of(2, 0.3), CONFIG)
    assert set(moved) == {CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM}
    assert [moved[key].pool_size for key in (CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM)] == [30, 120, 120]
    assert not torch.equal(moved[CHURN_UAP].images[:5], moved[CHURN_RANDOM].images[:5])
    assert all(len(points.images) <= CONFIG.n_points for points in moved.values())
    assert same(
        moved[CHURN_NATURAL], find_churn(VICTIM, SIBLINGS, IMAGES, replace(CONFIG, pool_size=1, max_points=20), "x")
    )
    still = find_twins(VICTIM, SIBLINGS, IMAGES, probe_of(1, 0.0), replace(CONFIG, per_image=1))
    assert torch.equal(still[CHURN_UAP].images, still[CHURN_NATURAL].images)
    assert set(find_twins(VICTIM, SIBLINGS, IMAGES, None, CONFIG)) == {CHURN_NATURAL}
    assert set(all_points(VICTIM, SIBLINGS, IMAGES, probe_of(2, 0.3), replace(CONFIG, twins=False), "seed")) == {CHURN}


def test_points_and_labels_are_read_as_they_were_stored() -> None:
    points = {CHURN: found(), CHURN_NATURAL: found(replace(CONFIG, pool_size=1))}
    tensors, numbers = churn_artifact(points)
    again = read_churn(Artifact(tensors, numbers))
    assert all(same(again[key], points[key]) for key in points)
    labels = churn_labels(SIBLINGS[0], points)
    stored = read_labels(Artifact(labels_artifact(labels), {}))
    assert all(torch.equal(stored[key], labels[key]) for key in points)


# --- variants


def drawn(config: ChurnConfig, n: int = 500) -> Tensor:
    """(n, 2, 3)."""
    return Variants.draw(n, config, torch_rng("draw")).matrices


def applied(rows: list[list[float]], images: Tensor) -> Tensor:
    """One matrix for all images."""
    matrices = torch.tensor([rows], dtype=torch.float32).expand(len(images), 2, 3)
    return Variants(matrices).apply(images, slice(0, len(images)))


def test_a_variant_of_no_strength_is_the_image() -> None:
    same_images = Variants.draw(N_IMAGES, STILL, torch_rng("still")).apply(IMAGES, slice(0, N_IMAGES))
    torch.testing.assert_close(same_images, IMAGES, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_shift_of_whole_pixels_is_exact(shape: tuple[int, int]) -> None:
    """Pixels that come from beyond an edge are those of the edge."""
    images = torch.rand(3, 2, *shape, generator=torch_rng("shift"))
    right = applied([[1, 0, -2 * 2 / shape[1]], [0, 1, 0]], images)
    torch.testing.assert_close(right[..., 2:], images[..., :-2], rtol=0, atol=1e-5)
    torch.testing.assert_close(right[..., :2], images[..., :1].expand(-1, -1, -1, 2), rtol=0, atol=1e-5)
    up = applied([[1, 0, 0], [0, 1, 2 / shape[0]]], images)
    torch.testing.assert_close(up[..., :-1, :], images[..., 1:, :], rtol=0, atol=1e-5)


def test_a_disc_stays_a_disc_in_an_image_that_is_not_square() -> None:
    height, width = 24, 48
    rows, columns = torch.meshgrid(torch.arange(height) - 11.5, torch.arange(width) - 23.5, indexing="ij")
    disc = torch.sigmoid(2 * (8 - (rows**2 + columns**2).sqrt()))[None, None]
    angle = math.radians(40)
    turned = applied([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0]], disc)
    torch.testing.assert_close(turned, disc, rtol=0, atol=0.1)


def test_a_quarter_turn_and_a_mirror_are_exact() -> None:
    turned = applied([[0, -1, 0], [1, 0, 0]], IMAGES)
    torch.testing.assert_close(turned, IMAGES.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    mirrored = applied([[-1, 0, 0], [0, 1, 0]], IMAGES)
    torch.testing.assert_close(mirrored, IMAGES.flip(3), rtol=0, atol=1e-5)


def test_variants_are_as_strong_as_they_may_be_and_no_stronger() -> None:
    config = ChurnConfig(rotation=12.0, shift=0.1, zoom=0.12)
    matrices = drawn(config)
    angle = torch.atan2(-matrices[:, 0, 1], matrices[:, 1, 1]) * 180 / math.pi
    scale = 1 / matrices[:, :, :2].det().sqrt()
    for values, largest in (
        (angle, 12.0),
        (scale - 1, 0.12),
        (matrices[:, 0, 2] / 2, 0.1),
        (matrices[:, 1, 2] / 2, 0.1),
    ):
        assert 0.95 * largest < float(values.max()) <= largest + 1e-4
        assert -largest - 1e-4 <= float(values.min()) < -0.95 * largest
        assert abs(float(values.mean())) < 0.1 * largest


def test_images_are_mirrored_only_when_asked() -> None:
    """A digit and a shoe have a handedness."""
    config = ChurnConfig()
    assert bool((drawn(config)[:, :, :2].det() > 0).all())
    mirrored = (drawn(replace(config, mirror=True))[:, :, :2].det() < 0).float().mean()
    assert 0.4 < float(mirrored) < 0.6


def test_variants_lie_in_the_range_of_images_and_do_not_depend_on_the_part() -> None:
    variants = Variants.draw(N_IMAGES, ChurnConfig(), torch_rng("parts"))
    whole = variants.apply(IMAGES, slice(0, N_IMAGES))
    assert 0.0 <= float(whole.min()) <= float(whole.max()) <= 1.0
    for part in (slice(3, 9), torch.tensor([4, 2])):
        assert torch.equal(variants.apply(IMAGES[part], part), whole[part])


# --- weights


def slow_ridge(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge logistic regression by gradient descent: C times the weighted loss plus half the squared weights."""
    share = np.where(y == 1, len(y) / (2 * y.sum()), len(y) / (2 * (1 - y).sum()))
    sign, w, b = 2.0 * y - 1.0, np.zeros(x.shape[1]), 0.0
    rate = 1.0 / (1.0 + RIDGE * (share[:, None] * x**2).sum() / 4)
    for _ in range(200_000):
        pull = RIDGE * share * sign / (1 + np.exp(sign * (x @ w + b)))
        step_w, step_b = w - x.T @ pull, -pull.sum()
        w, b = w - rate * step_w / 2, b - 2 / (RIDGE * share.sum()) * step_b
        if max(np.abs(step_w).max(), abs(step_b)) < 1e-10:
            break
    return w, b


def agreements(n_models: int = 20, n_points: int = 40) -> Tensor:
    """(M, E): the first half agrees more, on some points much more."""
    rng = torch_rng("agreements")
    likely = torch.rand(n_points, generator=rng) * 0.5
    lift = torch.rand(n_points, generator=rng) * 0.5
    stolen = torch.arange(n_models) < n_models // 2
    return torch.rand(n_models, n_points, generator=rng) < likely + lift * stolen[:, None]


ALL = Candidates(torch.arange(40), 1)
STOLEN, NEGATIVES = (0, 1, 2, 3), (10, 11, 12, 13, 14, 15, 16)


@pytest.mark.parametrize("n_points", [5, 40, 100])
def test_weights_are_those_of_gradient_descent(n_points: int) -> None:
    """On all points, then on those of largest weight alone."""
    agree = agreements()
    x, y = agree[[*STOLEN, *NEGATIVES]].double().numpy() - 0.5, np.array([1] * 4 + [0] * 7)
    weights, intercept = slow_ridge(x, y)
    kept = np.sort(np.argsort(-weights, kind="stable")[:n_points])
    if n_points < 40:
        weights, intercept = slow_ridge(x[:, kept], y)
    fitted = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, n_points)
    assert sorted(fitted.index.tolist()) == kept.tolist()
    by_point = dict(zip(fitted.index.tolist(), fitted.weights.tolist(), strict=True))
    np.testing.assert_allclose([by_point[i] for i in kept.tolist()], weights, atol=1e-4)
    assert fitted.intercept == pytest.approx(intercept, abs=1e-3)
    for row in range(20):
        value = intercept + sum(weights[j] * (float(agree[row, i]) - 0.5) for j, i in enumerate(kept.tolist()))
        assert float(fitted.scores(agree)[row]) == pytest.approx(value, abs=2e-3)


def test_weights_know_the_training_models_alone_and_weigh_both_classes_alike() -> None:
    agree = agreements()
    fitted = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, 10)
    others = agree.clone()
    others[[7, 8, 19]] = ~others[[7, 8, 19]]
    again = fit_churn_weights(others, STOLEN, NEGATIVES, ALL, 10)
    assert torch.equal(again.index, fitted.index)
    assert torch.equal(again.weights, fitted.weights)
    trained = fitted.scores(agree)
    assert float(trained[list(STOLEN)].min()) > float(trained[list(NEGATIVES)].max())
    # Unlike the loss of one model, that of a class does not grow with its numbers: no class is the safe guess.
    doubled = fit_churn_weights(agree, STOLEN, (*NEGATIVES, *NEGATIVES), ALL, 40)
    single = fit_churn_weights(agree, STOLEN, NEGATIVES, ALL, 40)
    assert abs(float(doubled.scores(agree).mean() - single.scores(agree).mean())) < 0.3


# --- what no model may have trained on


def test_no_model_trains_on_an_image_of_the_pool(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image that is read while a model of any kind is made, modified ones too, lies outside PROBE."""
    config = replace(
        tiny_with_siblings(),
        modifications=ModificationConfig(
            1, 0, fine_tune_epochs=1.0, prune=(0.4,), n_adversarial=1, adversarial_iterations=1
        ),
        studies=StudyConfig(n_trajectories=1, recoveries=(0.2,), n_overlap=1, overlaps=(0.5,)),
    )
    plan, store = tiny_plan(config), Store(str(tmp_path))
    splits = make_splits(digits, plan.data)
    probe = set(splits.probe.tolist())
    parts = {name: set(getattr(splits, name).tolist()) for name in ("d", "attack", "eval")}
    assert not any(probe & part for part in parts.values())
    assert set(splits.d_v.tolist()) <= parts["d"]
    read: set[int] = set()
    pixels = Dataset.pixels

    def recorded(self: Dataset, index: Tensor, *device: object) -> Tensor:
        read.update(index.tolist())
        return pixels(self, index, *device)  # type: ignore[arg-type]

    context = context_on(store)
    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "pixels", recorded)
        for spec in plan.specs:
            if isinstance(spec, ModelSpec) or spec.kind == "trajectory":
                perform_task(context, spec)
    roles = {member.role for member in plan.members}
    assert {Role.SIBLING, Role.SIBLING_PIRACY, Role.MODIFIED_PIRACY, Role.CHECKPOINT_PIRACY} <= roles
    assert read
    assert not read & probe
    assert plan.churn is not None
    perform_task(context, plan.probe)
    perform_task(context, plan.churn)
    points = read_churn(store.get("churn", plan.churn.id))
    assert {CHURN, CHURN_NATURAL, CHURN_UAP, CHURN_RANDOM} >= set(points) >= {CHURN}
    assert all(set(each.base.tolist()) <= probe for each in points.values())


def test_a_victim_below_the_gate_of_its_siblings_is_refused(digits: Dataset, digits_splits: Splits) -> None:
    """One gate binds all: a victim that siblings of its accuracy could not join is not compared with them."""
    plan = tiny_plan(tiny_with_siblings())
    store = SimpleNamespace(get=lambda kind, id_: SimpleNamespace(info={"accuracy": 0.19}))
    context = SimpleNamespace(data=lambda spec: (digits, digits_splits), store=store)
    assert plan.churn is not None
    with pytest.raises(GateError) as caught:
        churn_step(cast(TaskContext, context), plan.churn)
    assert str(caught.value) == (
        "victim: expected an accuracy of at least 0.2, which binds it and its siblings alike, got 0.190; lower the "
        "gate of the siblings"
    )
    assert tiny_plan(tiny()).churn is None
