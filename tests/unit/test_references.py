"""IPGuard as published, SAC-w's true labels and the twins' perturbations: on a small net, against their definitions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import PermanentError
from uapfp_dist.fingerprints.blocks import CLEAN, DEEPFOOL, IPGUARD_K, LAP, LAP_MINIMAL, PAPER, RANDOM, UAP, BlockKey
from uapfp_dist.fingerprints.ipguard_targets import K_GRID, targeted_loss, targeted_points
from uapfp_dist.fingerprints.probe import in_turn, one_view
from uapfp_dist.fingerprints.probe_data import Probe, ProbeSummary, UapSet
from uapfp_dist.fingerprints.querying import query_images, uncompressed_images
from uapfp_dist.fingerprints.references import make_references, make_twin_references, true_labels_of
from uapfp_dist.models import Net, build
from uapfp_dist.perturbations.deepfool import deepfool
from uapfp_dist.rng import torch_rng

N = 12


@pytest.fixture(scope="module")
def victim() -> Net:
    """Ten classes, random weights made steep, so that a lead of ten logits can be had."""
    net = build("mlp", (1, 6, 6), 10, 16, 0, torch.device("cpu")).eval()
    with torch.no_grad():
        list(net.parameters())[-2].mul_(30)
    return net


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(N, 1, 6, 6, generator=torch_rng("references"))


@pytest.mark.parametrize("k", K_GRID)
def test_ipguards_points_have_the_label_wanted_of_them(k: float, victim: Net, images: Tensor) -> None:
    """Where it is reached: by a lead of k, the label that the image had is the runner-up, and pixels are pixels."""
    found = targeted_points(victim, images, k, torch_rng("labels"))
    assert int(found.reached.sum()) >= N // 2
    with torch.no_grad():
        own, logits = victim(images).argmax(1), victim(found.images)
    top = logits.topk(2, dim=1)
    for i in found.reached.nonzero().flatten().tolist():
        assert top.indices[i, 1] == own[i] != top.indices[i, 0]
        assert float(top.values[i, 0] - top.values[i, 1]) >= k - 1e-4
    assert torch.equal(found.images[~found.reached], images[~found.reached])
    assert 0.0 <= float(found.images.min()) <= float(found.images.max()) <= 1.0


def test_the_loss_is_that_of_the_paper() -> None:
    """ReLU(Z_i - Z_j + k) + ReLU(max_t Z_t - Z_i), by hand."""
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, -1.0], [2.0, 4.0, 3.0]])
    own, target = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    assert targeted_loss(logits, own, target, 2.0).tolist() == [4.0, 0.0, 1.0]


def test_who_reaches_nothing_is_no_fingerprint(images: Tensor) -> None:
    """A net that says the same everywhere: no point is kept as one that failed, and the whole is refused."""

    class Stubborn(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.tensor([5.0, 0.0, 0.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.bias + 0 * x.sum((1, 2, 3))[:, None]

    found = targeted_points(Stubborn(), images[:2], 0.0, torch_rng("labels"))
    assert not bool(found.reached.any())
    assert torch.equal(found.images, images[:2])
    probe = _probe(images)
    with pytest.raises(PermanentError, match="IPGuard: expected a point"):
        make_references(Stubborn(), probe, (0.0, 1.0), "seed", torch.zeros(0, dtype=torch.int64))


def _probe(points: Tensor) -> Probe:
    """Three views of four points."""
    views = torch.arange(N).view(3, 4)
    v = torch.full((1, 1, 6, 6), 0.1)
    blocks = {key: in_turn(v, views) for key in (PAPER, DEEPFOOL, BlockKey(RANDOM, 1.0), BlockKey(UAP, 0.5))}
    uaps = {1.0: UapSet(1, 2.0, 2.0, 1.0, 0.9, 0.8)}
    labels = torch.zeros(3, dtype=torch.int64)
    return Probe(points, views, blocks, points[:3], labels, 2, summary=ProbeSummary(uaps=uaps))


def test_references_hold_the_points_that_arrived(victim: Net, images: Tensor) -> None:
    """One view of them, whose images the victim labels as wanted; the rates that are reported are theirs."""
    truth = torch.tensor([4, 5, 6])
    found = make_references(victim, _probe(images), (0.0, 5.0), "seed", truth)
    assert torch.equal(found.points, images[:4])
    assert found.natural_truth is truth
    assert not len(found.natural)
    for k, share in found.summary.ipguard_targets.items():
        block = found.blocks[BlockKey(IPGUARD_K, k)]
        assert len(block.point) == round(share * 4)
        with torch.no_grad():
            top = victim(query_images(found, BlockKey(IPGUARD_K, k))).topk(2, dim=1)
            own = victim(images[block.point]).argmax(1)
        assert torch.equal(top.indices[:, 1], own)
        assert float((top.values[:, 0] - top.values[:, 1]).min()) >= k - 1e-3


def test_twins_move_points_of_probe_by_what_the_probe_has(victim: Net, images: Tensor) -> None:
    """Universal ones are the same vectors; local ones are DeepFool's at these points, at the radii of the UAPs."""
    probe, others = _probe(images), torch.rand(N, 1, 6, 6, generator=torch_rng("others"))
    views = torch.arange(N).view(3, 4).flip(1)
    views = views - views.min()
    twin = replace(_probe(others), views=views)
    found = make_twin_references(victim, probe, twin, (1.0,), "seed")
    assert torch.equal(found.points, others)
    for key in (PAPER, DEEPFOOL, BlockKey(RANDOM, 1.0)):
        assert torch.equal(found.blocks[key].perturbations, probe.blocks[key].perturbations)
        moved = query_images(found, key)[found.blocks[key].gather]
        torch.testing.assert_close(moved, (others[views] + 0.1).clamp(0, 1))
    minimal = deepfool(victim, others).delta
    torch.testing.assert_close(found.blocks[LAP_MINIMAL].perturbations, minimal)
    for fraction in (0.5, 1.0):
        norms = found.blocks[BlockKey(LAP, fraction)].perturbations.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.full((N,), 2.0 * fraction))
    assert CLEAN not in found.blocks


def test_a_suspect_that_takes_jpeg_files_is_sent_every_block(victim: Net, images: Tensor) -> None:
    """What is read from the files of all blocks, each a picture of what was made."""
    probe = replace(_probe(images), jpeg_quality=90)
    own = make_references(victim, probe, (0.0,), "seed", torch.zeros(3, dtype=torch.int64))
    twin = make_twin_references(victim, probe, replace(probe, points=images.flip(0)), (0.0,), "seed")
    for found in (own, twin):
        for key in (CLEAN, *found.blocks):
            sent, made = query_images(found, key), uncompressed_images(found, key)
            assert sent.shape == made.shape
            assert float((sent - made).abs().mean()) < 0.1


def test_true_labels_are_found_by_the_pixels(images: Tensor) -> None:
    labels = torch.arange(N)
    assert true_labels_of(images[[7, 2]], images, labels).tolist() == [7, 2]
    with pytest.raises(PermanentError, match="expected images of PROBE"):
        true_labels_of(images[:1] + 1e-3, images, labels)


def test_ipguard_has_one_view(images: Tensor) -> None:
    """Points that failed leave no gap in what a suspect is sent."""
    block = one_view(torch.zeros(2, 1, 6, 6), torch.tensor([1, 3]))
    assert block.gather.tolist() == [[0, 1]]
