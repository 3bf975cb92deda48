"""Churn points are those that a slow loop over the pool would choose."""

import copy
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from linear_nets import CONFIG, IMAGES, N_IMAGES, N_SIBLINGS, SIBLINGS, SIDE, VICTIM, found, same
from torch import Tensor

from uapfp_dist.execution.churn_artifacts import churn_artifact, labels_artifact, read_churn, read_labels
from uapfp_dist.execution.pool_artifacts import (
    pool_labels_artifact,
    read_pool_labels,
    read_sibling_points,
    sibling_points_artifact,
)
from uapfp_dist.fingerprints.blocks import CHURN, CHURN_NATURAL, CHURN_RANDOM, CHURN_UAP, RANDOM, UAP, BlockKey
from uapfp_dist.fingerprints.churn import (
    NoChurnError,
    all_points,
    choose_points,
    churn_labels,
    find_churn,
    find_twins,
)
from uapfp_dist.fingerprints.pool import PoolLabels
from uapfp_dist.fingerprints.probe_data import Block, Probe
from uapfp_dist.fingerprints.sibling_points import SiblingPoints
from uapfp_dist.fingerprints.variants import Variants
from uapfp_dist.models.blackbox import NotFiniteError
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Artifact
from uapfp_dist.tasks.method_configs import ChurnConfig


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
    """(margin, base, label, committee, image in 8 bits) of every disagreement, one by one, and the size of the pool."""
    n_variants = math.ceil(config.pool_size / N_IMAGES) - 1
    pool = [(i, IMAGES[i]) for i in range(N_IMAGES)]
    for v in range(n_variants):
        variants = Variants.draw(N_IMAGES, config, torch_rng(seed, "variants", v))
        pool += [(i, variants.apply(IMAGES[i : i + 1], slice(i, i + 1))[0]) for i in range(N_IMAGES)]
    disagreements = []
    for base, image in pool:
        in_8_bits = (image * 255).round().to(torch.uint8)
        sent = in_8_bits.float() / 255
        with torch.no_grad():
            p = VICTIM(sent[None]).softmax(1)[0]
            committee = [int(sibling(sent[None]).argmax()) for sibling in SIBLINGS]
        label = int(p.argmax())
        if sum(other == label for other in committee) <= round(config.largest_share * N_SIBLINGS, 9):
            first, second = p.sort(descending=True).values[:2].tolist()
            disagreements.append((first - second, base, label, committee, in_8_bits))
    return disagreements, len(pool)


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
        NoChurnError, match="disagrees with its 3 siblings, found none among 180; take a larger"
    ) as caught:
        find_churn(VICTIM, [VICTIM] * 3, IMAGES, CONFIG, "seed")
    assert "\n" not in str(caught.value)
    assert find_twins(VICTIM, [VICTIM] * 3, IMAGES, None, CONFIG) == {}


@pytest.mark.parametrize("broken", range(N_SIBLINGS + 1), ids=["victim", *(f"sibling {i}" for i in range(N_SIBLINGS))])
def test_a_net_without_numbers_is_refused(broken: int) -> None:
    """Of a sibling, NaN would be a label: one that hardly any image has, so that everything would be a churn point."""
    nets = copy.deepcopy([VICTIM, *SIBLINGS])
    with torch.no_grad():
        nets[broken].weight[0, 0] = math.nan
    with pytest.raises(NotFiniteError, match=f"{'sibling' if broken else 'victim'}: expected numbers"):
        find_churn(nets[0], nets[1:], IMAGES, CONFIG, "seed")


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


@pytest.mark.parametrize(("most", "bytes_each"), [(9, 2), (32_767, 2), (32_768, 4), (70_000, 4)])
def test_labels_of_many_classes_are_read_as_they_were_stored(most: int, bytes_each: int) -> None:
    """In two bytes 65,535 would become -1, which is no answer, and 70,000 another class."""
    labels = torch.tensor([0, 4464, most])
    tensors = labels_artifact({CHURN: labels, CHURN_NATURAL: labels[:0]})
    assert tensors[CHURN.wire].element_size() == bytes_each
    assert torch.equal(read_labels(Artifact(tensors, {}))[CHURN], labels)
    of_pool = pool_labels_artifact(PoolLabels(labels, labels.float()))
    assert torch.equal(read_pool_labels(Artifact(of_pool, {})).labels, labels)
    points = SiblingPoints(IMAGES[:3], torch.arange(3)[None], labels[None])
    assert torch.equal(read_sibling_points(Artifact(sibling_points_artifact(points), {})).said, labels[None])
