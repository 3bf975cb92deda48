"""The input check: is the suspect sent what it expects? Told by the first images, before the budget is spent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faulty_server import serving
from input_forms import EXPECTS, metadata_of, reads
from toy_kit import checked_kit, serve, toy_kit, trained

from uapfp_dist.errors import UserError
from uapfp_dist.suspects.config import SuspectConfig
from uapfp_dist.suspects.input_format import InputFormat
from uapfp_dist.suspects.output_format import OutputFormat
from uapfp_dist.suspects.usual_formats import usual_formats
from uapfp_dist.verification.format_search import try_formats
from uapfp_dist.verification.kit.input_check import N_FIRST, InputCheck, choose_input_check
from uapfp_dist.verification.kit.io import load_kit, save_kit
from uapfp_dist.verification.querying.config import QueryConfig
from uapfp_dist.verification.replay import replay
from uapfp_dist.verification.reports.verdict_text import headline
from uapfp_dist.verification.verify import verify

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.mark.parametrize("name", EXPECTS)
def test_a_stolen_model_is_accused_in_its_own_form(name: str, tmp_path: Path) -> None:
    image, fields = EXPECTS[name]
    with serving(reads(image)) as endpoint:
        (case,) = verify(checked_kit(), [SuspectConfig(at=endpoint.url, name="s", **fields)], tmp_path)
    assert case.verdict.claim == "piracy"
    assert case.verdict.input_check is not None
    assert case.verdict.input_check.passed
    assert case.verdict.input_check.of == N_FIRST


@pytest.mark.parametrize("name", ["bytes", "[-1, 1]", "mean and std"])
def test_another_form_is_told_after_the_first_images(name: str, tmp_path: Path) -> None:
    """Without the check: inconclusive, p 1, and no word. A second run sends nothing more."""
    image, fields = EXPECTS[name]
    with serving(reads(image)) as endpoint:
        config = SuspectConfig(at=endpoint.url, name="s")
        for _ in range(2):
            with pytest.raises(UserError, match="does not look like the input this model expects") as caught:
                verify(checked_kit(), [config], tmp_path / "s")
            assert endpoint.images == N_FIRST
        for word in ("scale", "mean and std", "layout", "probe_forms", "classes FILE gives it", "anyway"):
            assert word in str(caught.value)
        (case,) = verify(checked_kit(), [config], tmp_path / "s", QueryConfig(anyway=True))
    assert case.verdict.claim == "inconclusive"
    assert "QUERIED ANYWAY" in headline(case)
    assert "\n" not in headline(case)
    assert replay(checked_kit(), [tmp_path / "s" / "s.transcript.jsonl"])[0].verdict == case.verdict
    assert fields


def test_the_first_images_count_and_the_rest_fills_the_budget(tmp_path: Path) -> None:
    kit = checked_kit()
    with serving(serve(trained(0))) as endpoint:
        (case,) = verify(kit, [SuspectConfig(at=endpoint.url, name="s")], tmp_path, QueryConfig(max_queries=30))
    assert case.ledger.queries == endpoint.images <= 30
    assert list(case.ledger.responses)[:N_FIRST] != kit.input_check.first.tolist() if kit.input_check else False
    assert (
        set(list(case.ledger.responses)[:N_FIRST]) == set(kit.input_check.first.tolist()) if kit.input_check else False
    )
    assert case.verdict.claim == "piracy"


def test_a_kit_of_before_has_no_check(tmp_path: Path) -> None:
    """Everything is as it was: also what is sent, and the verdict's text."""
    image, _ = EXPECTS["bytes"]
    with serving(reads(image)) as endpoint:
        (case,) = verify(toy_kit(), [SuspectConfig(at=endpoint.url, name="s")], tmp_path)
    assert case.verdict.input_check is None
    assert "QUERIED" not in headline(case)


def test_the_check_is_part_of_the_kit(tmp_path: Path) -> None:
    kit = checked_kit()
    save_kit(kit, tmp_path / "kit")
    found = load_kit(tmp_path / "kit", kit.digest).input_check
    assert found is not None
    assert kit.input_check is not None
    for name in ("images", "labels", "agrees"):
        assert torch.equal(getattr(found, name), getattr(kit.input_check, name))


def test_the_images_are_those_that_most_agree_on_whatever_the_victim_says() -> None:
    """By a slow reference: by class in turn, by the number of models; a label of the majority."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 40)
    labels = np.where(rng.random((9, 40)) < np.linspace(0.3, 1, 40), truth, rng.integers(0, 4, (9, 40)))
    clean = torch.from_numpy(rng.permutation(40)[:30])
    found = choose_input_check(clean, torch.from_numpy(labels))
    usual = {i: min(range(4), key=lambda c: (-int((labels[:, i] == c).sum()), c)) for i in clean.tolist()}
    votes = {i: int((labels[:, i] == usual[i]).sum()) for i in clean.tolist()}
    ranked: list[tuple[int, int, int, int]] = []
    seen: dict[int, int] = {}
    for position, i in sorted(enumerate(clean.tolist()), key=lambda pair: (-votes[pair[1]], pair[0])):
        seen[usual[i]] = seen.get(usual[i], -1) + 1
        ranked.append((seen[usual[i]], -votes[i], position, i))
    assert found.images.tolist() == [entry[3] for entry in sorted(ranked, key=lambda e: (e[0], e[1], e[2]))]
    assert found.labels.tolist() == [usual[i] for i in found.images.tolist()]
    assert found.agrees.sum(0).tolist() == [votes[i] for i in found.images.tolist()]


def test_resizing_may_cost_a_label() -> None:
    check = InputCheck(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    form = OutputFormat("label", ("a", "b"))
    assert not check.result(form, {3: ["a"], 1: ["a"]}).passed
    assert check.result(form, {3: ["a"], 1: ["a"]}, resized=True).passed
    assert not check.result(form, {3: ["b"], 1: ["a"]}, resized=True).passed


def test_a_form_that_is_named_is_tried_first() -> None:
    """Also where it is none of the usual ones, and with Caffe's means on BGR."""
    given = InputFormat(channels="BGR", scale="0-255")
    first, *others = usual_formats(given, (1, 8, 8))
    assert first[0] == given
    assert (103.939, 116.779, 123.68) in [one.mean for one in first]
    assert len({one for group in (first, *others) for one in group}) == sum(map(len, (first, *others)))


def test_nearly_equal_forms_get_more_images(tmp_path: Path) -> None:
    """The right form may miss a label of the first few by chance, where a wrong one does not."""
    kit = checked_kit()
    assert kit.input_check is not None
    one = kit.images[kit.input_check.first[0]].float().numpy() / 255

    def slips(x: np.ndarray) -> Any:
        """Takes [0, 1], but for the first image; of [-1, 1] every second label is wrong after the first twelve."""
        found = np.array(serve(trained(0))((x + 1) / 2 if x.min() < 0 else x))
        wrong = [(np.abs(image - one).max() < 1e-6) for image in x]
        if x.min() < 0:
            known = kit.images[kit.input_check.first].float().numpy() / 127.5 - 1  # type: ignore[union-attr]
            wrong = [all(np.abs(image - k).max() > 1e-5 for k in known) and i % 2 == 0 for i, image in enumerate(x)]
        found[wrong] = np.roll(found[wrong], 1, axis=1)
        return found.tolist()

    with serving(slips) as endpoint:
        found = try_formats(kit, SuspectConfig(at=endpoint.url, name="s"), tmp_path, QueryConfig(batch_size=8))
    assert found.tried[0].format == InputFormat()
    assert found.tried[0].result is not None
    assert found.tried[0].result.of > N_FIRST


def test_a_type_that_no_form_fits_ends_the_trying(tmp_path: Path) -> None:
    inputs, tried = [{"name": "x", "datatype": "INT8", "shape": [-1, 1, 8, 8]}], list[object]()
    with serving(lambda images: images, metadata_of(inputs, lambda x: x, []), metadata=True) as endpoint:
        suspect = SuspectConfig(at=f"{endpoint.url}/v2/models/m", name="s")
        with pytest.raises(UserError, match="wrap it in one that takes those"):
            try_formats(checked_kit(), suspect, tmp_path, on_tried=tried.append)
    assert not tried


def test_a_response_that_cannot_be_read_agrees_with_nobody() -> None:
    check = InputCheck(torch.tensor([3, 1]), torch.tensor([0, 1]), torch.ones(2, 2, dtype=torch.bool))
    form = OutputFormat("label", ("a", "b"))
    assert check.result(form, {3: ["a"], 1: ["b"]}).passed
    found = check.result(form, {3: ["a"], 1: [None]})
    assert (found.agreed, found.of, found.least, found.passed) == (1, 2, 2, False)
    assert check.result(form, {3: ["a"]}).of == 1
