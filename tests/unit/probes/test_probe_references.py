"""What UAPs are compared with: boundary points, random vectors and local perturbations, of the same norm or minimal."""

import pytest
import torch
from torch import Tensor

from uapfp_dist.fingerprints.blocks import (
    DEEPFOOL,
    IPGUARD,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    PAPER,
    RANDOM,
    RANDOM_PAPER,
    UAP,
    BlockKey,
)
from uapfp_dist.fingerprints.ipguard import K, boundary_points
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import query_images
from uapfp_dist.models import Net
from uapfp_dist.rng import torch_rng


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
        top = victim(query_images(probe, IPGUARD)).topk(2, dim=1).values
    assert probe.summary.ipguard_reached == 1.0
    assert float((top[:, 0] - top[:, 1]).max()) <= K + 1e-3


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
