"""One model of a preset, trained to its end: interrupted and resumed it is the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import train_to_end as script

from uapfp_dist.config.runtime import FilesConfig
from uapfp_dist.errors import UserError
from uapfp_dist.serialization import from_json, to_json


def test_resumed_training_ends_as_one_that_was_not_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(storage: str) -> object:
        files = FilesConfig(storage=str(tmp_path / storage))
        return script.TrainToEnd("digits", "D", precision="float32", files=files)

    whole = script.train_to_end(chosen("whole"))
    assert [epoch.number for epoch in whole.epochs] == list(range(1, len(whole.epochs) + 1))
    assert whole.steps == -(-whole.images * len(whole.epochs) // whole.batch_size)
    assert whole.epochs[-1].accuracy > 0.85
    assert whole.epochs[-1].accuracy > whole.epochs[0].accuracy
    assert 0.08 < whole.chance < 0.2

    keep = script.WatchedTraining._keep
    with monkeypatch.context() as patched:

        def interrupted(training: object) -> None:
            keep(training)
            if len(training.epochs) == 3:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        patched.setattr(script.WatchedTraining, "_keep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            script.train_to_end(chosen("resumed"))
    torch.rand(1)  # the global state of whoever goes on is another one
    n, n_epochs = torch.get_num_threads(), len(whole.epochs)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "get_num_threads", lambda: n + 1)
        resumed = script.train_to_end(chosen("resumed"))
    timeless = [[replace(epoch, seconds=0.0, threads=n) for epoch in one.epochs] for one in (whole, resumed)]
    assert timeless[0] == timeless[1]
    assert [epoch.threads for epoch in whole.epochs] == [n] * n_epochs
    assert [epoch.threads for epoch in resumed.epochs] == [n] * 3 + [n + 1] * (n_epochs - 3)


def test_epochs_of_before_have_no_threads() -> None:
    """Nobody knows how many it were, and the report says none."""
    kept = {"number": 1, "loss": 0.5, "accuracy": 0.9, "seconds": 2.0}
    assert to_json(from_json(script.Epoch, kept)) == kept


def test_an_architecture_that_the_preset_does_not_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"architecture: expected one of digits's independent models \(B, C, D, E\), got vgg16"
    ):
        script.train_to_end(script.TrainToEnd("digits", "vgg16", files=FilesConfig(storage=str(tmp_path))))
