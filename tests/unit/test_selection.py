"""Which images make a fingerprint, and that gathering stored responses is the same as querying again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from uapfp_dist.config.presets import preset
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.execution.probe_artifacts import probe_artifact, read_probe
from uapfp_dist.fingerprints.blocks import (
    CLEAN,
    DEEPFOOL,
    IPGUARD,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    NATURAL,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    UAP,
    BlockKey,
    join_wire,
    parse_blocks,
)
from uapfp_dist.fingerprints.fingerprint import fingerprints
from uapfp_dist.fingerprints.ipguard import K, boundary_points
from uapfp_dist.fingerprints.probe import _select, make_probe
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import n_query_images, perturbed_images, query_images, query_model
from uapfp_dist.fingerprints.selection import (
    SmallClusterError,
    centre_points,
    cluster_views,
    clusters,
    natural_errors,
    neighbour_views,
    unique_points,
)
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import batched_outputs, predict_probabilities
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import FingerprintConfig, UapConfig
from uapfp_dist.tasks.specs import ProbeSpec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def probe_spec(digits: Dataset) -> ProbeSpec:
    """A small one."""
    return ProbeSpec(
        make_plan(preset("digits"), 0, digits).members[0].spec,
        UapConfig(xi_grid=(0.3, 0.6), n_images=400, passes=4, xi_fractions=(0.5,), n_uaps=2),
        FingerprintConfig(n_points=6, n_views=5, n_test_views=3, n_natural=20),
        seed=0,
    )


@pytest.fixture(scope="module")
def probe(probe_spec: ProbeSpec, victim: Net, own: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """The probe of the victim, made as the pipeline makes it."""
    return make_probe(victim, probe_spec, own, held_out, held_out_labels)


@pytest.mark.parametrize(
    ("wire", "keys"),
    [
        ("clean", (CLEAN,)),
        ("lap@1", (LAP_PAPER,)),
        ("uap@0.5+uap@0.7", (BlockKey(UAP, 0.5), BlockKey(UAP, 0.7))),
        ("uap@0.333333", (BlockKey(UAP, 1 / 3),)),
    ],
)
def test_a_block_is_found_again_by_its_wire_name(wire: str, keys: tuple[BlockKey, ...]) -> None:
    assert join_wire(keys) == wire
    assert parse_blocks(wire) == keys


def test_a_stored_probe_is_the_probe(probe: Probe, probe_spec: ProbeSpec, tmp_path: Path) -> None:
    """Its fields and what was measured, references included."""
    store = Store(str(tmp_path))
    store.put(probe_spec.kind, probe_spec.id, *probe_artifact(probe))
    found = read_probe(store.get(probe_spec.kind, probe_spec.id))
    assert (found.summary, found.n_test_views, found.round_to_8_bits) == (probe.summary, 3, False)
    assert found.blocks.keys() == probe.blocks.keys()
    for key, block in probe.blocks.items():
        assert all(torch.equal(tensor, vars(found.blocks[key])[part]) for part, tensor in vars(block).items())


def test_centres_are_the_members_nearest_to_the_centres_of_k_means(victim: Net, own: Tensor) -> None:
    """Against scikit-learn at the same seed, cluster by cluster; no image stands for two clusters."""
    features, seed = batched_outputs(victim, own, "features"), 7
    chosen = centre_points(features, 12, seed)
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
        centre_points(features, 6, 0)


def test_views_hold_the_nearest_neighbours_without_replacement(victim: Net, own: Tensor) -> None:
    """View 0 is the centres; each column is a permutation of its centre's n_views nearest outputs."""
    outputs = batched_outputs(victim, own, "forward")
    centres = centre_points(batched_outputs(victim, own, "features"), 8, 1)
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


def test_what_the_first_views_need_comes_first(probe: Probe) -> None:
    """Of every block: an image that no earlier view had stands behind all images that those have."""
    for gather in (probe.views, *(block.gather for block in probe.blocks.values())):
        flat = gather.flatten().tolist()
        assert list(dict.fromkeys(flat)) == list(range(max(flat) + 1))


@pytest.mark.parametrize("n_test_views", [1, 3, 5])
def test_a_suspect_of_few_views_is_sent_less_and_responds_the_same(
    n_test_views: int, victim: Net, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prefix of every block that its views use, natural errors whole; bit by bit its responses to all views.

    Batches of four, so that the last batch of the prefix would be another one if all were sent in one go.
    """
    monkeypatch.setattr("uapfp_dist.fingerprints.querying.QUERY_BATCH", 4)
    few = replace(probe, n_test_views=n_test_views)
    part, whole = (query_model(victim, few, CPU, which).blocks for which in ("test", "all"))
    assert len(part[NATURAL]) == len(probe.natural)
    for key, block in probe.blocks.items():
        used = block.gather[:n_test_views].unique()
        assert len(part[key]) == len(used) == n_query_images(few, key, "test")
        assert len(whole[key]) == len(block.point) == n_query_images(few, key, "all")
    assert len(part[CLEAN]) == len(probe.views[:n_test_views].unique())
    assert len(whole[CLEAN]) == len(probe.points)
    for key, responses in part.items():
        assert torch.equal(responses, whole[key][: len(responses)]), key


def test_the_images_of_a_block_come_in_parts(probe: Probe) -> None:
    """A part of a block is that part of all its images."""
    for key in (CLEAN, NATURAL, *probe.blocks):
        assert torch.equal(query_images(probe, key, slice(1, 4)), query_images(probe, key)[1:4])


def test_boundary_points_tie_two_logits_and_have_left_their_label(victim: Net, own: Tensor) -> None:
    """Of every point: inside [0, 1], the label is not the image's, and leads over the next by at most K."""
    images = own[:40]
    gradients = [None if p.grad is None else p.grad.clone() for p in victim.parameters()]
    found, reached = boundary_points(victim, images, torch_rng("boundary"))
    assert float(reached.float().mean()) > 0.9
    with torch.no_grad():
        before, after = victim(images), victim(found)
    top = after.topk(2, dim=1)
    lead = (top.values[:, 0] - top.values[:, 1])[reached]
    assert float(lead.max()) <= K
    assert float(lead.median()) < 0.1 * float((before.topk(2, dim=1).values @ torch.tensor([1.0, -1.0])).median())
    assert bool((after.argmax(1) != before.argmax(1))[reached].all())
    assert torch.equal(top.indices[reached, 1], before.argmax(1)[reached])
    assert 0.0 <= float(found.min()) <= float(found.max()) <= 1.0
    for parameter, gradient in zip(victim.parameters(), gradients, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(parameter.grad, gradient)


def test_points_that_find_no_boundary_are_reported(own: Tensor) -> None:
    """A net that says the same everywhere has none."""

    class Stubborn(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x.sum((1, 2, 3)) * 0 + 5, x.sum((1, 2, 3)) * 1e-3], dim=1)

    found, reached = boundary_points(Stubborn(), own[:3], torch_rng("boundary"))
    assert not bool(reached.any())
    assert bool(found.isfinite().all())


def test_the_probe_keeps_boundary_points_at_the_boundary(victim: Net, probe: Probe) -> None:
    """One view of as many points as a fingerprint has, and what is sent still ties the victim's logits."""
    block = probe.blocks[IPGUARD]
    assert block.gather.tolist() == [list(range(6))]
    with torch.no_grad():
        top = victim(perturbed_images(probe, IPGUARD)).topk(2, dim=1).values
    assert probe.summary.ipguard_reached == 1.0
    assert float((top[:, 0] - top[:, 1]).max()) <= K + 1e-3


@pytest.mark.parametrize("fmt", [PROBABILITIES, ResponseFormat(3), LABEL], ids=str)
@pytest.mark.parametrize(
    "key",
    [PAPER, DEEPFOOL, BlockKey(UAP, 0.5), BlockKey(RANDOM, 0.5), BlockKey(LAP, 0.5), LAP_PAPER, LAP_MINIMAL],
    ids=str,
)
def test_fingerprint_is_eq_6_and_gathering_is_querying(
    key: BlockKey, fmt: ResponseFormat, victim: Net, probe: Probe
) -> None:
    """[f(x1), f(x1 + v), ..., f(xn), f(xn + v)], queried view by view, equals what is gathered from unique responses.

    View j has perturbation j mod K of K universal ones; a local perturbation belongs to its point.
    """
    block = probe.blocks[key]
    gathered = fingerprints(query_model(victim, probe, CPU), probe.views, block.gather, key, fmt)
    for j, (view, found) in enumerate(zip(probe.views.tolist(), gathered, strict=True)):
        parts = []
        for i in view:
            v = block.perturbations[i if key.kind.startswith(LAP) else j % len(block.perturbations)]
            for image in (probe.points[i], (probe.points[i] + v).clamp(0, 1)):
                p = predict_probabilities(victim, image[None])[0]
                at_least = {None: 0.0, 3: float(p.topk(3).values[-1]), 0: float(p.max())}[fmt.k]
                parts.append((p >= at_least) * (p if fmt != LABEL else 1.0))
        torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-5)


def test_without_perturbation_a_fingerprint_is_the_clean_responses(victim: Net, probe: Probe) -> None:
    """n C values a view."""
    responses = query_model(victim, probe, CPU)
    clean = fingerprints(responses, probe.views, None, CLEAN, PROBABILITIES)
    assert torch.equal(clean.view(5, 6, 10), responses.blocks[CLEAN][probe.views])


def test_no_image_is_sent_twice(probe: Probe) -> None:
    """Points are distinct, and so are the (point, perturbation) pairs of every block; all of them are used."""
    assert sorted(probe.views.unique().tolist()) == list(range(len(probe.points)))
    for block in probe.blocks.values():
        pairs = torch.stack([block.point, block.which], dim=1)
        assert len(pairs.unique(dim=0)) == len(pairs)
        assert sorted(block.gather.unique().tolist()) == list(range(len(pairs)))


def test_everything_sent_is_an_image(probe: Probe) -> None:
    """Clipped to [0, 1]; with rounding switched on, what an 8-bit API would see."""
    rounding = replace(probe, round_to_8_bits=True)
    for key in probe.blocks:
        images, rounded = perturbed_images(probe, key), perturbed_images(rounding, key)
        assert float(images.min()) >= 0.0
        assert float(images.max()) <= 1.0
        torch.testing.assert_close(rounded * 255, (rounded * 255).round(), rtol=0, atol=1e-3)
        assert float((rounded - images).abs().max()) <= 0.5 / 255 + 1e-6


def test_references_have_the_norm_of_the_uaps(probe: Probe) -> None:
    """Random vectors and DeepFool's directions at the same norm: else the comparison would be one of norms."""
    uaps = probe.summary.uaps
    xi = uaps[0.5].xi
    assert xi == pytest.approx(0.5 * uaps[1.0].xi)
    for kind in (UAP, RANDOM, LAP):
        norms = probe.blocks[BlockKey(kind, 0.5)].perturbations.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, xi), rtol=0.02, atol=0)
    for key in (RANDOM_PAPER, LAP_PAPER):
        norms = probe.blocks[key].perturbations.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 2 * xi), rtol=0.02, atol=0)
    assert len(probe.blocks[RANDOM_PAPER].perturbations) == 1
    for key in (PAPER, DEEPFOOL):
        assert float(probe.blocks[key].perturbations.norm()) <= 2 * xi * (1 + 1e-5)


def test_minimal_local_perturbations_are_the_rescaled_ones_at_their_own_length(victim: Net, probe: Probe) -> None:
    """Same direction, just long enough: the victim changes its label, at nine tenths of the length it does not."""
    minimal, rescaled = (probe.blocks[key].perturbations.flatten(1) for key in (LAP_MINIMAL, BlockKey(LAP, 0.5)))
    cosine = torch.nn.functional.cosine_similarity(minimal, rescaled)
    torch.testing.assert_close(cosine, torch.ones(len(minimal)))
    with torch.no_grad():
        before = victim(probe.points).argmax(1)
        delta = probe.blocks[LAP_MINIMAL].perturbations
        moved, short = (victim(probe.points + share * delta).argmax(1) for share in (1.0, 0.9))
    assert bool((moved != before).all())
    assert float((short == before).float().mean()) > 0.8


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
        centre_points(torch.rand(20, 3), 21, 0)
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
