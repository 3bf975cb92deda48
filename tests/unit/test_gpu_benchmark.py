"""The benchmark of a GPU, rehearsed on a CPU: everything in it runs, and what does not end is ended."""

import json
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from uapfp_dist.acceleration import NONE, Acceleration
from uapfp_dist.benchmarks import peers
from uapfp_dist.benchmarks.gpu import agreement, command, processes, rivals, run, settings, switches
from uapfp_dist.benchmarks.gpu.notes import Notes, read_notes
from uapfp_dist.benchmarks.gpu.run import PARTS, GpuBenchmark, Part
from uapfp_dist.benchmarks.gpu.settings import Settings
from uapfp_dist.data import Dataset
from uapfp_dist.serialization import from_json


@pytest.fixture
def tiny(tmp_path: Path) -> Settings:
    """A rehearsal on this CPU."""
    return Settings("cpu", str(tmp_path), tiny=True)


def test_the_rehearsal_measures_everything(tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one device both sides agree to the bit, where nothing is random."""
    monkeypatch.setattr(peers, "LIBRARIES", ())
    monkeypatch.setattr(peers, "THEIRS", {"theirs": peers.ours})
    monkeypatch.setattr(peers, "uap_by_art", lambda net, images, xi, passes, order: torch.zeros_like(images[:1]))
    said: list[str] = []
    found = run.run(tiny, 3000.0, PARTS, apart=False, say=said.append)
    for name, notes in found.parts.items():
        assert notes.failed == {}, name
        assert notes.not_reached == (), name
        assert notes.done, name
    for name, agreed in found.parts["agreement"].done.items():
        assert isinstance(agreed, dict)
        assert agreed["equal"] == 1.0, name
        assert agreed.get("largest", 0.0) == pytest.approx(0.0, abs=1e-6), name
        assert set(agreed.get("weights", {}).values()) <= {0.0}, name  # type: ignore[union-attr]
    written = json.loads((Path(tiny.out) / "gpu.json").read_text())
    assert from_json(GpuBenchmark, written).parts.keys() == PARTS.keys()
    assert found.parts["zoo"].done["models"]["made"] >= 4  # type: ignore[call-overload,index]
    assert sum(part.share for part in PARTS.values()) == pytest.approx(1.0)


def test_a_part_is_ended_at_its_deadline_and_one_that_dies_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before is there, what it must tidy up is, and the next part has its turn."""
    whole = Settings("cpu", str(tmp_path))

    def until_something_is_found(process: BaseProcess, due: float) -> None:
        while process.is_alive() and not read_notes(tmp_path / "hangs.json").done:
            time.sleep(0.05)

    with monkeypatch.context() as patch:
        patch.setattr(run, "_wait", until_something_is_found)
        hung = run.run(whole, 400.0, {"hangs": Part("endless_part", 1.0)}, say=lambda line: None).parts["hangs"]
    assert (hung.done, hung.not_reached) == ({"quick": 1}, ("endless", "after it"))
    assert hung.failed == {"process": "was ended at its deadline"}
    assert (tmp_path / "tidied").is_file(), "its `finally` has run"
    said: list[str] = []
    died = run.run(replace(whole, tiny=True), 400.0, {"dies": Part("endless_part", 1.0)}, say=said.append).parts["dies"]
    assert (died.done, died.failed) == ({"quick": 1}, {"process": "ended with code 7"})
    assert "  not reached: endless, after it" in said


def test_notes_go_on_after_a_failure_and_stop_when_time_is_up(tmp_path: Path) -> None:
    path, said = tmp_path / "part.json", list[str]()

    def fails() -> None:
        raise RuntimeError("no such\nkernel")

    notes = Notes(path, ("a", "b", "c"), time.monotonic() + 60, said.append)
    assert read_notes(path).not_reached == ("a", "b", "c")
    notes.take("a", fails)
    notes.take("b", lambda: 2)
    assert read_notes(path).failed == {"a": "RuntimeError: no such kernel"}
    notes.until = 0.0
    notes.take("c", lambda: 3)
    assert (read_notes(path).done, read_notes(path).not_reached) == ({"b": 2}, ("c",))
    notes.skip("not here")
    assert (read_notes(path).skipped, read_notes(path).not_reached) == ("not here", ())
    assert read_notes(tmp_path / "nothing.json").done == {}


def test_every_switch_is_measured_alone() -> None:
    """A switch that is added is measured, or this fails."""
    small, large = switches.choices(small=True), switches.choices(small=False)
    assert small["all"] == large["all"] == Acceleration()
    assert small["none"] == large["none"] == NONE
    off = {name for choice in small.values() for name, on in vars(choice).items() if not on and choice != NONE}
    assert off | {"device_probe"} == set(vars(NONE))
    assert large["with graph_large"].graph_large
    for name, choice in {**small, **large}.items():
        switched = {field for field, on in vars(choice).items() if on != vars(Acceleration())[field]}
        assert name in ("all", "none") or set(name.partition(" ")[2].split(", ")) == switched, "its name says it"
    recorded = [choice for choice in small.values() if choice.cuda_graph]
    assert all(choice.tensor_rate for choice in recorded), "a graph that could not be would be measured as one"
    whole = switches.planned(Settings("cuda", "out"))
    assert len(whole) == len(set(whole)) == 5 * 6 + 5 * 6 + 4
    assert [name for name in whole[:10] if not name.endswith(", all")] == []


def test_no_measurement_finds_the_images_of_another_on_the_device(
    tiny: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would count in its memory."""
    given, used = tiny.images(), list[Dataset]()
    plain = Dataset.to_train_on

    def to_train_on(dataset: Dataset, index: torch.Tensor, device: torch.device) -> torch.Tensor:
        used.append(dataset)
        return plain(dataset, index, device)

    monkeypatch.setattr(Dataset, "to_train_on", to_train_on)
    switches.step_time(tiny, lambda: given, "A", NONE)
    assert len(used) == 1
    assert used[0] is not given
    assert used[0].images is given.images, "none is copied"


def test_what_a_gpu_would_be_asked(tiny: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Settings("cuda", "out")
    assert {f"answers {name}" for name in settings.SMALL + settings.LARGE} <= set(agreement.planned(whole))
    assert "4 x resnet18, MPS" in processes.planned(whole)
    assert Settings("cpu", "out").images().shape == (1, 28, 28), "made up"
    monkeypatch.setattr(peers, "LIBRARIES", ("no_such_library",))
    notes = Notes(Path(tiny.out) / "rivals.json", rivals.planned(tiny), time.monotonic() + 60, lambda line: None)
    rivals.measure(tiny, notes)
    assert "no_such_library not installed" in read_notes(Path(tiny.out) / "rivals.json").skipped


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--device", "cuda"], "expected a GPU that torch sees, found none"),
        (["--device", "cpu", "--minutes", "0"], "expected more than 0, got 0"),
        (["--device", "cpu", "--data-root", "/no/such/folder"], "/no/such/folder is none"),
    ],
)
def test_a_wrong_input_is_one_line(arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=line) as caught:
        command.main("about", arguments)
    assert "\n" not in str(caught.value)


def test_the_command_runs_the_parts_that_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(command, "run", lambda *what: asked.extend(what))
    command.main("about", ["--device", "cpu", "--tiny", "--parts", "zoo", "--out", str(tmp_path / "new" / "out")])
    assert asked == [Settings("cpu", str(tmp_path / "new" / "out"), None, True), 360.0 / PARTS["zoo"].share, asked[2]]
    assert list(asked[2]) == ["zoo"]  # type: ignore[call-overload]
