"""What a thief does between query and answer, and the figure of what removal costs."""

from dataclasses import replace

import pytest
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from uapfp_dist.reporting.figures.removal import family_of
from uapfp_dist.serialization import to_json
from uapfp_dist.verification.robustness.evasions import EVASIONS, Evasion, blurred, compressed, mirrored
from uapfp_dist.verification.robustness.figure import removal_figure
from uapfp_dist.verification.robustness.judged import JudgedModel, JudgedSuspects, read_judged
from uapfp_dist.verification.robustness.table import robustness_rows


class Brightest(nn.Module):
    """Logits are the pixels: the label is the place of the brightest one."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) * 50


IMAGES = torch.rand(400, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_images_stay_images() -> None:
    for change in (blurred, mirrored, compressed):
        for images in (IMAGES, IMAGES.expand(-1, 3, -1, -1)):
            seen = change(images)
            assert seen.shape == images.shape
            assert 0.0 <= float(seen.min()) <= float(seen.max()) <= 1.0
            assert not torch.equal(seen, images)
    assert torch.equal(mirrored(mirrored(IMAGES)), IMAGES)
    assert blurred(IMAGES).std() < IMAGES.std()


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_so_many_answers_are_random(share: float) -> None:
    """Of 16 classes one in 16 random answers is right by chance; the same client gets the same."""
    evasion = Evasion("some", random_share=share)
    labels = evasion.labels(Brightest(), IMAGES, "seed")
    right = float((labels == IMAGES.flatten(1).argmax(1)).double().mean())
    expected = 1 - share * 15 / 16
    assert abs(right - expected) <= 3 * (max(expected * (1 - expected), 1e-9) / len(IMAGES)) ** 0.5 + 1e-9
    assert torch.equal(labels, evasion.labels(Brightest(), IMAGES, "seed"))
    assert share == 0.0 or not torch.equal(labels, evasion.labels(Brightest(), IMAGES, "another"))


def test_queries_are_changed_before_the_model_sees_them() -> None:
    where = IMAGES.flatten(1).argmax(1)
    labels = Evasion("mirrored", mirrored).labels(Brightest(), IMAGES, "seed")
    assert torch.equal(labels, where // 4 * 4 + 3 - where % 4)


def suspect(kind: str, accuracy: float, p: float, role: str = "piracy") -> JudgedModel:
    return JudgedModel(role, kind, "A", accuracy, {"100": 1.0, "400": p})


def test_the_figure_shows_loss_and_share() -> None:
    judged = [
        suspect("as it is", 0.9, 0.05),
        suspect("fine-tune", 0.8, 0.05, "modified_piracy"),
        suspect("fine-tune", 0.8, 0.2, "modified_piracy"),
        suspect("as it is", 0.7, 1.0, "homologous"),
    ]
    figure = removal_figure(judged, 0.05)
    assert [marks(axis) for axis in figure.axes] == [{(0.0, 0.0), (10.0, 0.0)}, {(0.0, 1.0), (10.0, 0.5), (0.0, 0.0)}]
    assert [axis.get_title("left") for axis in figure.axes] == ["100 images", "400 images"]
    with_exact = [replace(one, exact={"2000": 0.05}) for one in judged]
    assert marks(removal_figure(with_exact, 0.05).axes[2]) == {(0.0, 1.0), (10.0, 1.0)}
    other_budgets = [replace(one, p_values={"62": 1.0, "90": 0.01}) for one in judged]
    assert len(removal_figure(other_budgets, 0.05).axes) == 1
    assert removal_figure([], 0.05).axes


def test_a_modified_model_loses_against_the_one_it_was_made_of() -> None:
    """Not against the mean of all: those that are modified may be the better ones."""
    judged = [
        suspect("as it is", 0.7, 0.05),
        suspect("as it is", 0.9, 0.05),
        replace(suspect("INT8", 0.89, 0.05, "modified_piracy"), before=0.9),
        suspect("label noise .1", 0.6, 0.05, "relabelled_piracy"),
        replace(suspect("label noise .1, guessed churn", 0.5, 0.05, "relabelled_piracy"), before=0.6),
    ]
    assert marks(removal_figure(judged, 0.05).axes[1]) == {(0.0, 1.0), (1.0, 1.0), (20.0, 1.0), (30.0, 1.0)}
    header, _, unchanged, int8, noise, guessed = robustness_rows(judged, 0.05)
    assert header.startswith("| suspect | what was done | models | accuracy | lost | 100 images |")
    assert "| 2 | 0.800 | - |" in unchanged
    assert "| 1 | 0.890 | +0.010 |" in int8
    assert "| 1 | 0.600 | - |" in noise
    assert "| 1 | 0.500 | - |" in guessed
    assert "lost" not in robustness_rows(judged[:2], 0.05)[0]


def test_the_table_has_a_column_for_the_exact_test() -> None:
    judged = [replace(suspect("as it is", 0.9, 0.05), exact={"2000": p}) for p in (0.05, 0.5)]
    header, _, line = robustness_rows(judged, 0.05)
    assert header.split(" | ")[-1] == "exact, 2000 images |"
    assert "| 0/2 [0.00, 0.84] | 2/2 [0.16, 1.00] | 1/2 [0.01, 0.99] |" in line
    header, _, _ = robustness_rows([suspect("as it is", 0.9, 0.05)], 0.05)
    assert "exact" not in header


def marks(axis: Axes) -> set[tuple[float, float]]:
    points = (point for marks in axis.collections for point in marks.get_offsets().tolist())  # type: ignore[union-attr]
    return {(round(x, 6), y) for x, y in points}


def test_rounded_answers_change_labels_of_ties_alone() -> None:
    """To one decimal: where two classes round alike the first is answered, elsewhere the label stays."""
    logits = torch.tensor([[0.46, 0.47, 0.07], [0.1, 0.2, 0.7], [0.2, 0.44, 0.36]]).log()
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    model[1].weight.data = torch.eye(3)  # type: ignore[union-attr]
    evasion = Evasion("answers rounded to 0.1", decimals=1)
    assert evasion.labels(model, logits[:, None, None], "seed").tolist() == [0, 2, 1]
    assert Evasion("none").labels(model, logits[:, None, None], "seed").tolist() == [1, 2, 1]


def test_every_kind_has_a_family() -> None:
    assert family_of("prune .4, fine-tune") == "pruned and fine-tuned"
    assert family_of("prune .4 + recovery") == "pruned"
    assert family_of("adversarial training 30 (own labels)") == "adversarial training"
    assert family_of("0.25 of the labels true") == "true labels mixed in"
    assert family_of("PGD training .02, distillation on fresh images") == "two attacks in a row"
    assert family_of("guessed churn, fine-tune") == "two attacks in a row"
    assert family_of("label noise .1") == family_of("label smoothing .3") == "labels noisy or smooth"
    assert family_of("PGD training .02") == "PGD training"
    assert family_of("distillation on fresh images") == "distilled on fresh images"
    assert family_of("residual net") == "another kind of net"
    assert {family_of(evasion.name) for evasion in EVASIONS} == {"queries changed", "answers rounded or random"}


def test_files_of_before_say_questions() -> None:
    old = [to_json(suspect("questions mirrored", 0.9, 0.05))]
    assert [one.kind for one in read_judged(old).judged] == ["queries mirrored"]
    assert [one.kind for one in read_judged(to_json(JudgedSuspects("x", 0.05, read_judged(old).judged))).judged] == [
        "queries mirrored"
    ]
