"""Which images make a fingerprint, and that gathering stored answers is the same as asking again."""

from dataclasses import replace

import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from uapfp_dist.config import preset
from uapfp_dist.errors import UserError
from uapfp_dist.pipeline.plan import make_plan
from uapfp_dist.science.blackbox import ask, layer
from uapfp_dist.science.data import Dataset
from uapfp_dist.science.fingerprint.probe import answer, fingerprints, make_probe, perturbed
from uapfp_dist.science.fingerprint.selection import (
    centre_points,
    natural_errors,
    neighbour_views,
    unique_points,
)
from uapfp_dist.science.rng import torch_rng
from uapfp_dist.science.zoo import Net
from uapfp_dist.specs import FingerprintConfig, Format, ProbeSpec, UapConfig
from uapfp_dist.types import Probe

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probe(digits: Dataset, victim: Net, own: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """A small probe of the victim, made as the pipeline makes it."""
    plan = make_plan(preset("digits"), 0, digits)
    spec = ProbeSpec(
        plan.members[0].spec,
        UapConfig(xi_grid=(0.3, 0.6), n_images=400, passes=4, xi_fractions=(0.5,), n_uaps=2),
        FingerprintConfig(n_points=6, n_views=5, n_test_views=3, n_natural=20),
        seed=0,
    )
    return make_probe(victim, spec, own, held_out, held_out_labels)


def test_centres_are_the_members_nearest_to_the_centres_of_k_means(victim: Net, own: Tensor) -> None:
    """Against scikit-learn at the same seed, cluster by cluster; no image stands for two clusters."""
    features, seed = layer(victim, own, "features"), 7
    chosen = centre_points(features, 12, seed)
    kmeans = KMeans(12, n_init=1, random_state=seed).fit(features.double().numpy())
    labels, centres = torch.from_numpy(kmeans.labels_), torch.from_numpy(kmeans.cluster_centers_)
    for cluster in range(12):
        members = (labels == cluster).nonzero().flatten()
        distances = (features[members].double() - centres[cluster]).norm(dim=1)
        assert int(chosen[cluster]) == int(members[distances.argmin()])
    assert len(chosen.unique()) == 12


def test_views_hold_the_nearest_neighbours_without_replacement(victim: Net, own: Tensor) -> None:
    """View 0 is the centres; each column is a permutation of its centre's n_views nearest outputs."""
    outputs = layer(victim, own, "forward")
    centres = centre_points(layer(victim, own, "features"), 8, 1)
    views = neighbour_views(outputs, centres, 20, torch_rng("views"))
    assert views.shape == (20, 8)
    assert torch.equal(views[0], centres)
    for column, centre in zip(views.T, centres, strict=True):
        assert len(column.unique()) == 20
        distance = (outputs.double() - outputs[centre].double()).norm(dim=1)
        left_out = torch.ones(len(own), dtype=torch.bool)
        left_out[column] = False
        assert float(distance[column].max()) <= float(distance[left_out].min()) + 1e-9


def test_neighbours_come_in_random_order(victim: Net, own: Tensor) -> None:
    """Else the last views would be made of the farthest neighbours only."""
    outputs = layer(victim, own, "forward")
    centres = torch.arange(10)
    views = neighbour_views(outputs, centres, 20, torch_rng("views"))
    distance = torch.stack([(outputs[column] - outputs[c]).norm(dim=1) for c, column in enumerate(views.T)])
    ranks = distance[:, 1:].argsort(dim=1).argsort(dim=1).double()
    early, late = float(ranks[:, :9].mean()), float(ranks[:, 10:].mean())
    # Mean rank of 90 draws: standard error .6 of 18.
    assert early == pytest.approx(late, abs=4.0)


def test_the_victims_twin_images_leave_view_zero_alone() -> None:
    """An image with the centre's very output must not take the centre's place."""
    outputs = torch.zeros(5, 3)
    views = neighbour_views(outputs, torch.tensor([3, 1]), 4, torch_rng("views"))
    assert views[0].tolist() == [3, 1]
    assert all(len(column.unique()) == 4 for column in views.T)


def test_unique_points_lead_back_to_the_views() -> None:
    """Sorted, each once, and the rewritten views point at the same images."""
    views = torch.randint(0, 30, (7, 11), generator=torch_rng("unique"))
    index, rewritten = unique_points(views)
    assert torch.equal(index[rewritten], views)
    assert index.tolist() == sorted(set(views.flatten().tolist()))


@pytest.mark.parametrize("fmt", ["prob", "hard"])
@pytest.mark.parametrize("name", ["uap_paper", "uap@0.5", "random@0.5", "lap@0.5"])
def test_fingerprint_is_eq_6_and_gathering_is_asking(name: str, fmt: Format, victim: Net, probe: Probe) -> None:
    """[f(x1), f(x1 + v), ..., f(xn), f(xn + v)], asked view by view, equals what is gathered from unique answers.

    View j has perturbation j mod K of K universal ones; a local perturbation belongs to its point.
    """
    block = probe.blocks[name]
    gathered = fingerprints(answer(victim, probe, CPU), probe.views, block.gather, name, fmt)
    for j, (view, found) in enumerate(zip(probe.views.tolist(), gathered, strict=True)):
        parts = []
        for i in view:
            v = block.perturbations[i if name.startswith("lap") else j % len(block.perturbations)]
            for image in (probe.points[i], (probe.points[i] + v).clamp(0, 1)):
                p = ask(victim, image[None])[0]
                parts.append(p if fmt == "prob" else torch.eye(10)[int(p.argmax())])
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_without_perturbation_a_fingerprint_is_the_clean_answers(victim: Net, probe: Probe) -> None:
    """n C values a view."""
    answers = answer(victim, probe, CPU)
    clean = fingerprints(answers, probe.views, None, "clean", "prob")
    assert torch.equal(clean.view(5, 6, 10), answers.blocks["clean"][probe.views])


def test_no_image_is_sent_twice(probe: Probe) -> None:
    """Points are distinct, and so are the (point, perturbation) pairs of every block; all of them are used."""
    assert sorted(probe.views.unique().tolist()) == list(range(len(probe.points)))
    for block in probe.blocks.values():
        pairs = torch.stack([block.point, block.which], dim=1)
        assert len(pairs.unique(dim=0)) == len(pairs)
        assert sorted(block.gather.unique().tolist()) == list(range(len(pairs)))


def test_everything_sent_is_an_image(probe: Probe) -> None:
    """Clipped to [0, 1]; with rounding switched on, what an 8-bit API would see."""
    rounding = replace(probe, info={**probe.info, "round_to_8_bits": True})
    for name in probe.blocks:
        images, rounded = perturbed(probe, name), perturbed(rounding, name)
        assert float(images.min()) >= 0.0
        assert float(images.max()) <= 1.0
        torch.testing.assert_close(rounded * 255, (rounded * 255).round(), rtol=0, atol=1e-3)
        assert float((rounded - images).abs().max()) <= 0.5 / 255 + 1e-6


def test_references_have_the_norm_of_the_uaps(probe: Probe) -> None:
    """Random vectors and DeepFool's directions at the same norm: else the comparison would be one of norms."""
    xi = probe.info["uaps"]["0.5"]["xi"]
    assert xi == pytest.approx(0.5 * probe.info["uaps"]["1"]["xi"])
    for name in ("uap", "random", "lap"):
        norms = probe.blocks[f"{name}@0.5"].perturbations.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, xi), rtol=0.02, atol=0)
    assert float(probe.blocks["uap_paper"].perturbations.norm()) <= 2 * xi * (1 + 1e-5)


def test_points_come_from_the_victims_own_images(probe: Probe, own: Tensor, held_out: Tensor) -> None:
    """Points from D_v, natural errors from PROBE."""
    assert all(bool((own == image).flatten(1).all(1).any()) for image in probe.points)
    assert all(bool((held_out == image).flatten(1).all(1).any()) for image in probe.natural)


PROBABILITIES = torch.tensor(
    [
        [0.90, 0.10],  # right, sure
        [0.20, 0.80],  # wrong, sure
        [0.55, 0.45],  # right, unsure
        [0.45, 0.55],  # wrong, unsure
        [0.70, 0.30],  # right
        [0.35, 0.65],  # wrong
    ]
)


@pytest.mark.parametrize(
    ("at_least", "at_most", "expected", "n_errors"),
    [
        (0, 10, [3, 5, 1], 3),  # errors only, least sure first
        (5, 10, [3, 5, 1, 2, 4], 3),  # topped up with right answers of lowest margin
        (100, 10, [3, 5, 1, 2, 4, 0], 3),  # all there is
        (0, 2, [3, 5], 2),  # no more errors than asked for
        (3, 1, [3, 2, 4], 1),
    ],
)
def test_natural_errors_come_first_then_lowest_margins(
    at_least: int, at_most: int, expected: list[int], n_errors: int
) -> None:
    """The truth is class 0 throughout."""
    index, found = natural_errors(PROBABILITIES, torch.zeros(6, dtype=torch.long), at_least, at_most)
    assert index.tolist() == expected
    assert found == n_errors


def test_more_points_or_views_than_images_is_refused(digits: Dataset) -> None:
    """In one line that says how many there are - before any training, and again where it would fail."""
    with pytest.raises(UserError, match=r"n_points.*20 images.*21"):
        centre_points(torch.rand(20, 3), 21, 0)
    with pytest.raises(UserError, match=r"n_views.*20 images.*21"):
        neighbour_views(torch.rand(20, 3), torch.arange(3), 21, torch_rng(0))
    config = preset("digits")
    for name in ("n_points", "n_views"):
        greedy = replace(config, fingerprint=replace(config.fingerprint, **{name: 751}))
        with pytest.raises(UserError, match=rf"{name}.*750.*751"):
            make_plan(greedy, 0, digits)
