"""Which images make a fingerprint: centres, their neighbours or clusters, natural errors and low margins."""

from dataclasses import replace

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.fingerprints.probe import _select, make_probe
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.selection import (
    SmallClusterError,
    cluster_views,
    clusters,
    natural_errors,
    neighbour_views,
    unique_points,
)
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import batched_outputs
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import FingerprintConfig
from uapfp_dist.tasks.specs import ProbeSpec


def test_centres_are_the_members_nearest_to_the_centres_of_k_means(victim: Net, own: Tensor) -> None:
    """Against scikit-learn at the same seed, cluster by cluster; no image stands for two clusters."""
    features, seed = batched_outputs(victim, own, "features"), 7
    chosen = clusters(features, 12, seed)[1]
    kmeans = KMeans(12, n_init=1, random_state=seed).fit(features.double().numpy())
    labels, centres = torch.from_numpy(kmeans.labels_), torch.from_numpy(kmeans.cluster_centers_)
    for cluster in range(12):
        members = (labels == cluster).nonzero().flatten()
        distances = (features[members].double() - centres[cluster]).norm(dim=1)
        assert int(chosen[cluster]) == int(members[distances.argmin()])
    assert len(chosen.unique()) == 12


def test_images_that_are_alike_to_the_victim_are_refused() -> None:
    """More points than there are different ones: no point is taken twice, and none is missing unsaid."""
    features = torch.arange(4.0).repeat(5)[:, None]
    with (
        pytest.warns(ConvergenceWarning),
        pytest.raises(UserError, match="n_points: expected 6 clusters of the victim's features of D_v, found 4"),
    ):
        clusters(features, 6, 0)


def test_views_hold_the_nearest_neighbours_without_replacement(victim: Net, own: Tensor) -> None:
    """View 0 is the centres; each column is a permutation of its centre's n_views nearest outputs."""
    outputs = batched_outputs(victim, own, "forward")
    centres = clusters(batched_outputs(victim, own, "features"), 8, 1)[1]
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
    outputs = batched_outputs(victim, own, "forward")
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


def test_whole_clusters_give_each_view_one_point_of_each_cluster(victim: Net, own: Tensor) -> None:
    """Algorithm 1: view 0 is the centres, no image stands twice, the others come at random from the whole cluster."""
    features = batched_outputs(victim, own, "features")
    cluster, centres = clusters(features, 8, 1)
    n_views = int(cluster.bincount().min())
    views = cluster_views(cluster, centres, n_views, torch_rng("views"))
    assert views.shape == (n_views, 8)
    assert torch.equal(views[0], centres)
    assert torch.equal(cluster[views], torch.arange(8).expand(n_views, 8))
    assert len(views.unique()) == views.numel()
    other = cluster_views(cluster, centres, n_views, torch_rng("other views"))
    assert torch.equal(other[0], centres)
    largest = int(cluster.bincount().argmax())
    assert set(other[:, largest].tolist()) != set(views[:, largest].tolist())
    assert torch.equal(cluster_views(cluster, centres, n_views, torch_rng("views")), views)


def test_clusters_too_small_for_the_views_are_refused(victim: Net, own: Tensor) -> None:
    """In one line that says how many the smallest has; one view more than that is one too many."""
    cluster, centres = clusters(batched_outputs(victim, own, "features"), 8, 1)
    smallest = int(cluster.bincount().min())
    with pytest.raises(SmallClusterError, match=rf"n_views.*the {smallest} images.*whole_clusters.*got {smallest + 1}"):
        cluster_views(cluster, centres, smallest + 1, torch_rng("views"))


def test_the_probe_takes_its_views_from_where_it_is_told(
    probe_spec: ProbeSpec, probe: Probe, victim: Net, own: Tensor, held_out: Tensor, held_out_labels: Tensor
) -> None:
    """Whole clusters share no point; view 0 is the same either way."""
    whole = replace(probe_spec, fingerprint=replace(probe_spec.fingerprint, views="whole_clusters"))
    found = make_probe(victim, whole, own, held_out, held_out_labels)
    assert len(found.points) == 5 * 6
    assert torch.equal(found.views, torch.arange(30).view(5, 6))
    assert probe.views.shape == found.views.shape
    assert not torch.equal(probe.points[probe.views[1]], found.points[found.views[1]])


def test_unique_points_lead_back_to_the_views() -> None:
    """Each once, in order of first appearance, and the rewritten views point at the same images."""
    views = torch.randint(0, 30, (7, 11), generator=torch_rng("unique"))
    index, rewritten = unique_points(views)
    assert torch.equal(index[rewritten], views)
    assert index.tolist() == list(dict.fromkeys(views.flatten().tolist()))


def test_points_come_from_the_victims_own_images(probe: Probe, own: Tensor, held_out: Tensor) -> None:
    """Points from D_v, natural errors from PROBE."""
    assert all(bool((own == image).flatten(1).all(1).any()) for image in probe.points)
    assert all(bool((held_out == image).flatten(1).all(1).any()) for image in probe.natural)


VICTIM_PROBABILITIES = torch.tensor(
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
        (5, 10, [3, 5, 1, 2, 4], 3),  # topped up with correct predictions of lowest margin
        (100, 10, [3, 5, 1, 2, 4, 0], 3),  # all there is
        (0, 2, [3, 5], 2),  # no more errors than at_most
        (3, 1, [3, 2, 4], 1),
    ],
)
def test_natural_errors_come_first_then_lowest_margins(
    at_least: int, at_most: int, expected: list[int], n_errors: int
) -> None:
    """The truth is class 0 throughout."""
    index, found = natural_errors(VICTIM_PROBABILITIES, torch.zeros(6, dtype=torch.long), at_least, at_most)
    assert index.tolist() == expected
    assert found == n_errors


def test_more_points_or_views_than_images_is_refused(digits: Dataset) -> None:
    """In one line that says how many there are - before any training, and again where it would fail."""
    with pytest.raises(UserError, match=r"n_points.*20 images.*21"):
        clusters(torch.rand(20, 3), 21, 0)
    with pytest.raises(UserError, match=r"n_views.*20 images.*21"):
        neighbour_views(torch.rand(20, 3), torch.arange(3), 21, torch_rng(0))
    config = preset("digits")
    for name in ("n_points", "n_views"):
        greedy = replace(config, fingerprint=replace(config.fingerprint, **{name: 751}))
        with pytest.raises(UserError, match=rf"{name}.*750.*751"):
            make_plan(greedy, 0, digits)


def test_points_come_from_the_candidates_alone(victim: Net, own: Tensor) -> None:
    """With fewer candidates there are no more different points than candidates; without a limit nothing changes."""
    config = FingerprintConfig(n_points=20, n_views=15, n_test_views=5)
    few, views = _select(victim, own, replace(config, n_candidates=40), "seed")
    assert 20 <= len(few) <= 40
    assert views.shape == (15, 20)
    whole = {bytes(image.numpy()) for image in own}
    assert all(bytes(point.numpy()) in whole for point in few)
    everyone, _ = _select(victim, own, config, "seed")
    same, _ = _select(victim, own, replace(config, n_candidates=len(own)), "seed")
    assert torch.equal(everyone, same)
    assert len(everyone) > 40
