"""The contrastive encoder: Eq. 7 to the letter, stacks that do not mix, cosines in [0, 1]."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.encoder import EncoderStack
from uapfp_dist.fingerprints.encoder_fit import fit_encoders
from uapfp_dist.fingerprints.encoder_loss import LOSSES, membership, plain_loss, supcon_loss
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.method_configs import EncoderConfig

SMALL = EncoderConfig(hidden=16, embedding=8, epochs=30, batch_size=10_000)
"""One batch holds everything, so that the order of the fingerprints cannot matter."""


def eq_7(z: Tensor, labels: Tensor, tau: float) -> float:
    """The paper's loss as a double loop over anchors and positives, for one encoder."""
    cosine = torch.nn.functional.cosine_similarity
    total = 0.0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        if not positives:
            continue
        below = sum(math.exp(float(cosine(z[i], z[j], dim=0)) / tau) for j in others)
        logs = [math.log(math.exp(float(cosine(z[i], z[j], dim=0)) / tau) / below) for j in positives]
        total -= sum(logs) / len(positives)
    return total


def embeddings(stack: int, batch: int, dims: int) -> Tensor:
    """Non-negative, as the encoder's are; in double precision."""
    return torch.rand(stack, batch, dims, generator=torch_rng("z"), dtype=torch.float64)


def loss_of(z: Tensor, labels: Tensor, tau: float, present: Tensor | None = None) -> Tensor:
    """By the labels of all samples, or of those that are present."""
    present = torch.ones(z.shape[:2], dtype=torch.bool) if present is None else present
    return supcon_loss(z, membership(z, labels, present), tau)


@pytest.mark.parametrize("tau", [0.07, 0.2, 1.0])
def test_loss_is_eq_7(tau: float) -> None:
    """Mean over positives outside the logarithm, the anchor itself in neither sum."""
    z, labels = embeddings(3, 9, 4), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    expected = torch.tensor([eq_7(one, labels, tau) for one in z]).double()
    torch.testing.assert_close(loss_of(z, labels, tau), expected)


def test_masked_samples_are_as_if_they_did_not_exist() -> None:
    """Neither as anchors nor as positives nor as negatives; every encoder of the stack has its own mask."""
    z, labels = embeddings(3, 10, 4), torch.tensor([0, 1] * 5)
    present = torch.rand(3, 10, generator=torch_rng("mask")) < 0.6
    losses = loss_of(z, labels, 0.2, present)
    for loss, one, kept in zip(losses, z, present, strict=True):
        alone = loss_of(one[None, kept], labels[kept], 0.2)[0]
        torch.testing.assert_close(loss, alone)
        assert float(loss) == pytest.approx(eq_7(one[kept], labels[kept], 0.2))


def test_masked_samples_receive_no_gradient() -> None:
    """What an encoder may not see cannot teach it."""
    z = embeddings(1, 6, 4).requires_grad_()
    present = torch.tensor([[True, True, True, True, False, False]])
    loss_of(z, torch.tensor([0, 0, 1, 1, 0, 1]), 0.2, present).sum().backward()
    assert z.grad is not None
    assert not bool(z.grad[0, 4:].any())
    assert bool(z.grad[0, :4].any())


def test_anchors_without_positives_contribute_nothing_and_never_nan() -> None:
    """A lone label, a lone sample, an empty batch: 0, with finite gradients."""
    z = embeddings(1, 4, 3).requires_grad_()
    with_loner = loss_of(z, torch.tensor([0, 0, 0, 1]), 0.2)
    expected = eq_7(z[0].detach(), torch.tensor([0, 0, 0, 1]), 0.2)
    assert with_loner.item() == pytest.approx(expected)
    all_loners = loss_of(z, torch.tensor([0, 1, 2, 3]), 0.2)
    nobody = loss_of(z, torch.tensor([0, 0, 1, 1]), 0.2, torch.zeros(1, 4, dtype=torch.bool))
    one = loss_of(z, torch.tensor([0, 0, 1, 1]), 0.2, torch.tensor([[True, False, False, False]]))
    assert [loss.item() for loss in (all_loners, nobody, one)] == [0.0, 0.0, 0.0]
    (with_loner + all_loners + nobody + one).sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def test_zero_embeddings_have_cosine_zero_and_finite_gradients() -> None:
    """ReLU can put out nothing at all: such a sample is orthogonal to everything."""
    z = embeddings(1, 4, 3)
    z[0, 0] = 0.0
    z.requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])
    loss = loss_of(z, labels, 0.2)
    assert loss.item() == pytest.approx(eq_7(z[0].detach(), labels, 0.2))
    loss.sum().backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def families(n_models: int, n_views: int, dims: int) -> tuple[Tensor, Tensor]:
    """Fingerprints (M, V, D) of two families, even rows label 0, odd rows label 1."""
    rng = torch_rng("families")
    centres = torch.rand(2, 1, dims, generator=rng)
    labels = torch.arange(n_models) % 2
    noise = 0.3 * torch.rand(n_models, n_views, dims, generator=rng)
    return centres[labels] + noise, labels


def stack_of(encoders: EncoderStack, s: int) -> EncoderStack:
    """Encoder `s` on its own."""
    w1, b1, w2, b2 = (p[s : s + 1] for p in (encoders.w1, encoders.b1, encoders.w2, encoders.b2))
    return EncoderStack(encoders.basis, w1, b1, w2, b2)


def test_encoders_of_a_stack_do_not_feel_each_other() -> None:
    """Trained in company or by itself, an encoder comes out the same."""
    prints, labels = families(6, 4, 30)
    keep = torch.tensor([[True] * 6, [False, False, True, True, True, True], [True, True, True, True, False, False]])
    together = fit_encoders(prints, labels, keep, SMALL, "seed").similarity(prints, prints[0])
    for s in range(3):
        alone = fit_encoders(prints, labels, keep[s : s + 1], SMALL, "seed").similarity(prints, prints[0])
        torch.testing.assert_close(together[s], alone[0], rtol=0, atol=1e-3)


def test_models_an_encoder_may_not_see_teach_it_nothing() -> None:
    """Mislabelled twins of the training models, masked out, change nothing: only what is kept is learned.

    Twins, because the basis of the first layer is common to the stack: they leave the principal directions of the
    training fingerprints where they are, so that the comparison with an encoder trained without them is exact.
    """
    prints, labels = families(6, 4, 30)
    with_twins, wrong = torch.cat([prints, prints]), torch.cat([labels, 1 - labels])
    keep = torch.arange(12)[None] < 6
    masked = fit_encoders(with_twins, wrong, keep, SMALL, "seed").similarity(prints, prints[0])
    alone = fit_encoders(prints, labels, keep[:, :6], SMALL, "seed").similarity(prints, prints[0])
    torch.testing.assert_close(masked, alone, rtol=0, atol=5e-3)
    seen = fit_encoders(with_twins, wrong, torch.ones(1, 12, dtype=torch.bool), SMALL, "seed")
    assert float((seen.similarity(prints, prints[0]) - alone).abs().max()) > 0.1


def test_a_model_held_out_scores_as_if_it_had_not_been_there() -> None:
    """Leave-one-pair-out scores choose the format: they must be those of encoders that never met the pair.

    The basis is common to the stack and holds the pair's own directions, in which this encoder has learnt nothing:
    random initial weights there would be noise that no real suspect meets.
    """
    prints, labels = families(12, 20, 600)
    prints = prints + 0.5 * torch.randn(12, 1, 600, generator=torch_rng("own directions"))
    keep = torch.ones(5, 12, dtype=torch.bool)
    for s in range(5):
        keep[s, 2 * s + 2 : 2 * s + 4] = False
    stack = fit_encoders(prints, labels, keep, SMALL, "seed").similarity(prints, prints[0]).mean(2)
    differences = []
    for s in range(5):
        rest = keep[s]
        alone = fit_encoders(prints[rest], labels[rest], rest[rest][None], SMALL, "seed")
        never_met = alone.similarity(prints, prints[0])[0].mean(1)
        differences.append((stack[s] - never_met)[~rest].abs())
    # Not zero: Adam's steps depend on the basis.
    assert float(torch.cat(differences).mean()) < 0.08


@pytest.mark.parametrize(("loss", "gap"), [("supcon", 0.2), ("cross_entropy", 0.2), ("autoencoder", 0.0)])
def test_training_separates_the_families(loss: str, gap: float) -> None:
    """New fingerprints of the victim's family score higher than those of the other; far higher if labels are used."""
    prints, labels = families(12, 4, 30)
    config = replace(SMALL, loss=loss, learning_rate=5e-3)
    encoders = fit_encoders(prints[:6], labels[:6], torch.ones(1, 6, dtype=torch.bool), config, "seed")
    scores = encoders.similarity(prints[6:], prints[0])[0].mean(1)
    assert float(scores[::2].min()) > float(scores[1::2].max()) + gap


def test_cross_entropy_is_that_of_a_linear_head() -> None:
    """Against torch's, encoder by encoder."""
    z, labels = embeddings(3, 9, 4), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1])
    w, b = (torch.randn(3, rows, 2, generator=torch_rng("head", rows), dtype=torch.float64) for rows in (4, 1))
    losses = plain_loss(z, [w, b], labels, torch.zeros(9, 5))
    for s in range(3):
        for i in range(9):
            logits = z[s, i] @ w[s] + b[s, 0]
            assert float(losses[s, i]) == pytest.approx(float(logits.logsumexp(0) - logits[labels[i]]))


def test_reconstruction_is_the_mean_squared_error_of_the_coordinates() -> None:
    """Against a loop: two layers back, ReLU between; labels are not looked at."""
    z, rng = embeddings(2, 3, 4), torch_rng("decoder")
    shapes = ((2, 4, 6), (2, 1, 6), (2, 6, 5), (2, 1, 5))
    head = [torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes]
    coordinates = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    losses = plain_loss(z, head, torch.tensor([0, 1, 0]), coordinates)
    for s in range(2):
        for i in range(3):
            hidden = (z[s, i] @ head[0][s] + head[1][s, 0]).clamp_min(0)
            error = hidden @ head[2][s] + head[3][s, 0] - coordinates[i]
            assert float(losses[s, i]) == pytest.approx(float((error**2).mean()))
    assert torch.equal(losses, plain_loss(z, head, torch.tensor([1, 1, 1]), coordinates))


@pytest.mark.parametrize("loss", LOSSES)
def test_labels_teach_the_losses_that_use_them(loss: str) -> None:
    """An autoencoder comes out the same whatever the labels; the others do not."""
    prints, labels = families(6, 4, 30)
    keep = torch.ones(1, 6, dtype=torch.bool)
    config = replace(SMALL, loss=loss)
    wrong = torch.tensor([0, 0, 0, 1, 1, 1])
    one, two = (fit_encoders(prints, which, keep, config, "seed") for which in (labels, wrong))
    assert torch.equal(one.w1, two.w1) == (loss == "autoencoder")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_each_encoder_on_its_own_models(loss: str) -> None:
    """A label that is masked out for one encoder changes that one in nothing, and the others where they use labels."""
    prints, labels = families(6, 4, 30)
    config = replace(SMALL, loss=loss)
    keep = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    both = fit_encoders(prints, labels, keep, config, "seed").similarity(prints, prints[0])
    flipped = torch.cat([labels[:4], 1 - labels[4:]])
    again = fit_encoders(prints, flipped, keep, config, "seed").similarity(prints, prints[0])
    torch.testing.assert_close(again[1], both[1], rtol=0, atol=1e-5)
    assert torch.equal(again[0], both[0]) == (loss == "autoencoder")
    for s in range(2):
        alone = fit_encoders(prints, labels, keep[s : s + 1], config, "seed").similarity(prints, prints[0])
        torch.testing.assert_close(both[s], alone[0], rtol=0, atol=1e-3)


def test_every_loss_starts_from_the_same_encoder() -> None:
    """The head's weights are made after the encoder's: after no step at all, the encoders are equal."""
    prints, labels = families(4, 3, 20)
    keep = torch.ones(1, 4, dtype=torch.bool)
    stacks = [fit_encoders(prints, labels, keep, replace(SMALL, loss=loss, epochs=0), "seed") for loss in LOSSES]
    assert all(torch.equal(stack.w1, stacks[0].w1) and torch.equal(stack.w2, stacks[0].w2) for stack in stacks)


def test_an_unknown_loss_is_refused() -> None:
    """With the known ones."""
    prints, labels = families(4, 3, 20)
    with pytest.raises(UserError, match=r"unknown encoder loss 'triplet'; known: autoencoder, cross_entropy, supcon"):
        fit_encoders(prints, labels, torch.ones(1, 4, dtype=torch.bool), replace(SMALL, loss="triplet"), "seed")


def test_an_encoder_that_diverged_is_refused() -> None:
    """At a temperature at which Eq. 7 overflows; its NaN would score every model 0, the victim itself too."""
    prints, labels = families(4, 3, 20)
    with pytest.raises(UserError, match=r"finite weights .* got NaN or infinity at encoder.tau 0.005 and") as refused:
        fit_encoders(prints, labels, torch.ones(1, 4, dtype=torch.bool), replace(SMALL, tau=0.005), "seed")
    assert refused.value.argument == "encoder.tau"


def test_embeddings_are_not_negative_and_cosines_lie_between_zero_and_one() -> None:
    """ReLU on the output; the victim is as similar to itself as can be."""
    prints, labels = families(6, 4, 30)
    encoders = fit_encoders(prints, labels, torch.ones(2, 6, dtype=torch.bool), SMALL, "seed")
    assert float(encoders(prints.flatten(0, 1)).min()) >= 0.0
    scores = encoders.similarity(prints, prints[0])
    assert scores.shape == (2, 6, 4)
    assert float(scores.min()) >= 0.0
    assert float(scores.max()) <= 1.0 + 1e-6
    torch.testing.assert_close(scores[:, 0], torch.ones(2, 4))


def test_similarity_compares_view_with_view() -> None:
    """Against a loop: view i of a suspect is held against view i of the victim, per encoder."""
    prints, labels = families(4, 3, 20)
    encoders = fit_encoders(prints, labels, torch.ones(2, 4, dtype=torch.bool), SMALL, "seed")
    scores = encoders.similarity(prints, prints[0])
    for s in range(2):
        one = stack_of(encoders, s)
        for m in range(4):
            for v in range(3):
                a, b = one(prints[m, v][None])[0, 0], one(prints[0, v][None])[0, 0]
                expected = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
                assert float(scores[s, m, v]) == pytest.approx(expected, abs=1e-5)


def test_an_embedding_of_zeros_scores_zero() -> None:
    """It has no direction, so nothing is similar to it, not even itself."""
    dead = EncoderStack(
        torch.eye(4), torch.zeros(1, 4, 3), torch.zeros(1, 1, 3), torch.zeros(1, 3, 2), -torch.ones(1, 1, 2)
    )
    prints = torch.rand(2, 5, 4, generator=torch_rng("zeros"))
    assert not bool(dead.similarity(prints, prints[0]).any())


def test_the_seed_decides() -> None:
    """The same seed gives the same bits, another one other weights."""
    prints, labels = families(4, 3, 20)
    keep = torch.ones(1, 4, dtype=torch.bool)
    first, again, other = (fit_encoders(prints, labels, keep, SMALL, seed) for seed in ("a", "a", "b"))
    assert torch.equal(first.w1, again.w1)
    assert torch.equal(first.w2, again.w2)
    assert not torch.equal(first.w1, other.w1)
