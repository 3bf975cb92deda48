"""Scorers of a kit are fitted on training models alone, and chosen by those left out."""

from collections import Counter

import pytest
import torch

from uapfp_dist.fingerprints.methods.agreement import weighted_scores
from uapfp_dist.rng import torch_rng
from uapfp_dist.verification.enrollment.error_weights import WEIGHINGS, by_naive_bayes
from uapfp_dist.verification.kit.separation import Separation, TrainingRows


def test_weights_are_those_of_the_evaluation() -> None:
    """The kit's log odds add up to the scores of the method of the same name."""
    agree = torch.rand(12, 50, generator=torch_rng("agree")) < 0.5
    training = TrainingRows({"piracy": [1, 2, 3], "homologous": [4, 5], "same_data": [6]}).training()
    expected = weighted_scores(agree, [1, 2, 3], [4, 5, 6], 20)
    assert torch.allclose(by_naive_bayes(agree, training, 20).score(agree).float(), expected)


@pytest.mark.parametrize("variant", sorted(WEIGHINGS))
def test_weights_find_the_images_that_tell(variant: str) -> None:
    """Of fifty images there are three on which stolen models agree and negatives do not: agreement there is piracy."""
    agree = torch.rand(12, 50, generator=torch_rng("agree")) < 0.5
    agree[:, [7, 21, 40]] = torch.tensor([True] * 6 + [False] * 6)[:, None]
    found = WEIGHINGS[variant](agree, TrainingRows({"piracy": range(6), "homologous": range(6, 12)}).training(), 3)  # type: ignore[arg-type]
    assert sorted(found.index.tolist()) == [7, 21, 40]
    assert (found.log_odds_agree > found.log_odds_disagree).all()
    assert found.score(agree)[:6].min() > 0 > found.score(agree)[6:].max()


def test_separation_counts_what_an_accusation_takes() -> None:
    """Two of four stolen models score above every negative; each group of negatives weighs alike in the AUC."""
    groups = {"piracy": [4.0, 3.0, 1.0, 0.0], "homologous": [2.0, 0.5], "same_data": [-1.0]}
    found = Separation.of({name: torch.tensor(scores) for name, scores in groups.items()})
    assert found.caught == 0.5
    assert found.auc == pytest.approx(((2 + 3) / 8 + 4 / 4) / 2)
    assert Separation(0.6, 0.0, 0.0) > Separation(0.5, 1.0, 9.0)


def test_folds_leave_every_model_out_once() -> None:
    rows = {"piracy": list(range(1, 8)), "homologous": list(range(8, 12)), "same_data": list(range(12, 15))}
    seen: Counter[int] = Counter()
    for fold in TrainingRows(rows).folds():
        training, left = fold.training, fold.left_out
        out = {row for group in left.values() for row in group}
        assert not out & {*training.piracy, *training.homologous}
        assert out | {*training.piracy, *training.homologous} == set(range(1, 15))
        assert all(left.values())
        seen.update(out)
    assert seen == Counter(range(1, 15))
