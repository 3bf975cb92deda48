"""What a probe sends, block by block, and that gathering stored responses is the same as querying again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from uapfp_dist.execution.probe_artifacts import probe_artifact, read_probe
from uapfp_dist.fingerprints.blocks import (
    CLEAN,
    DEEPFOOL,
    LAP,
    LAP_MINIMAL,
    LAP_PAPER,
    NATURAL,
    PAPER,
    RANDOM,
    UAP,
    BlockKey,
    join_wire,
    parse_blocks,
)
from uapfp_dist.fingerprints.fingerprint import fingerprints
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.querying import n_query_images, query_images, query_model
from uapfp_dist.models import Net
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.specs import ProbeSpec

CPU = torch.device("cpu")


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
    store.put(*probe_spec.artifact, *probe_artifact(probe))
    found = read_probe(store.get(*probe_spec.artifact))
    assert (found.summary, found.n_test_views, found.round_to_8_bits) == (probe.summary, 3, False)
    assert found.blocks.keys() == probe.blocks.keys()
    for key, block in probe.blocks.items():
        assert all(torch.equal(tensor, vars(found.blocks[key])[part]) for part, tensor in vars(block).items())


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
        images, rounded = query_images(probe, key), query_images(rounding, key)
        assert float(images.min()) >= 0.0
        assert float(images.max()) <= 1.0
        torch.testing.assert_close(rounded * 255, (rounded * 255).round(), rtol=0, atol=1e-3)
        assert float((rounded - images).abs().max()) <= 0.5 / 255 + 1e-6
