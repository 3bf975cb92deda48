"""Weights as people save them: wrapped, beside other things, in half precision; and none that only look like it."""

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from owners_net import make
from safetensors.torch import save_file
from small_enrollment import small_plan
from system import context_on
from torch import Tensor
from toy_kit import WIDTH, negative
from toy_suspects import IMAGES, SHAPE, query

from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.models import Net, build
from uapfp_dist.models.blackbox import predict_probabilities
from uapfp_dist.models.checkpoint import MisfitError, load_weights
from uapfp_dist.models.custom import CustomNet
from uapfp_dist.models.weights_file import conversion, read_weights
from uapfp_dist.storage.store import Store
from uapfp_dist.suspects.config import SuspectConfig, describe_suspect
from uapfp_dist.suspects.registry import open_suspect
from uapfp_dist.verification.enrollment.owner_model import read_owner_model

Weights = Mapping[str, Tensor]
CPU = torch.device("cpu")


def empty() -> Net:
    """A net of other random weights."""
    return build("A", SHAPE, 10, WIDTH, 5, CPU)


def behind(*prefixes: str) -> Callable[[Weights], Weights]:
    """Every name behind each prefix."""
    return lambda weights: {prefix + key: t.clone() for prefix in prefixes for key, t in weights.items()}


def with_optimizer(weights: Weights) -> Weights:
    """Beside what else a checkpoint holds."""
    return {**weights, "optimizer.state.0.exp_avg": torch.ones(3), "epoch": torch.tensor(7)}


def compiled_inside(weights: Weights) -> Weights:
    """One part alone was compiled."""
    return {key.replace("convolutions.", "convolutions._orig_mod."): t for key, t in weights.items()}


def same(net: Net, other: Net) -> bool:
    """Bit for bit."""
    mine, others = net.state_dict(), other.state_dict()
    return mine.keys() == others.keys() and all(torch.equal(mine[key], others[key]) for key in mine)


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "state_dict.", "module._orig_mod.", "_orig_mod.module.", "state_dict.model."],
)
def test_names_behind_a_prefix(prefix: str) -> None:
    """Of DataParallel, torch.compile, Lightning, a checkpoint with the state_dict in it, and of several."""
    load_weights(net := empty(), behind(prefix)(negative().state_dict()))
    assert same(net, negative())


def test_parts_that_were_compiled() -> None:
    load_weights(net := empty(), compiled_inside(negative().state_dict()))
    assert same(net, negative())


def test_weights_of_a_module_and_of_the_net_around_it() -> None:
    """Of the user's own code: mean and std count where they are saved."""
    for saved in (make(10, SHAPE), CustomNet("owners_net:make", SHAPE, 10)):
        if isinstance(saved, CustomNet):
            saved.mean.fill_(0.5)
        for prefix in ("", "module.", "model."):
            net = CustomNet("owners_net:make", SHAPE, 10)
            load_weights(net, behind(prefix)(saved.state_dict()))
            assert torch.equal(net(IMAGES / 255), saved(IMAGES / 255))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_the_same_numbers(dtype: torch.dtype) -> None:
    given = {key: t.to(dtype) for key, t in negative().state_dict().items()}
    load_weights(net := empty(), given)
    assert all(t.dtype == torch.float32 for t in net.state_dict().values())
    assert all(torch.equal(t, given[key].float()) for key, t in net.state_dict().items())


def test_surplus_is_named_and_left_out_only_on_request() -> None:
    weights = with_optimizer(behind("model.")(negative().state_dict()))
    with pytest.raises(MisfitError, match=r"2 tensors are none of its own, 'epoch', 'optimizer.state.0.exp_avg'"):
        load_weights(net := empty(), weights)
    assert same(net, empty()), "nothing is loaded by halves"
    load_weights(net, weights, ignore_surplus=True)
    assert same(net, negative())


def test_counters_of_batch_normalisation_may_be_missing() -> None:
    saved = build("residual", SHAPE, 10, 4, 0, CPU)
    load_weights(
        net := build("residual", SHAPE, 10, 4, 1, CPU),
        {key: t for key, t in saved.state_dict().items() if not key.endswith("num_batches_tracked")},
    )
    assert same(net, saved)


@pytest.mark.parametrize("ignore_surplus", [False, True])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda w: {}, "none of its 10 tensors is there"),
        (lambda w: {"fc.weight": torch.ones(2)}, "none of its 10 tensors is there.* but 'fc.weight'"),
        (lambda w: {k: t for k, t in w.items() if k != "last.bias"}, "1 of its 10 tensors are missing, 'last.bias'"),
        (behind("model.", "model_ema."), "2 times, behind 'model.', 'model_ema.'"),
        (lambda w: {**w, "last.weight": w["last.weight"][:5]}, "'last.weight' has the shape 5 x 32, not 10 x 32"),
        (lambda w: {**w, "last.weight": w["last.weight"].to(torch.int8)}, "'last.weight' holds int8"),
        (lambda w: {**w, "last.weight": w["last.weight"].to(torch.float8_e4m3fn)}, "'last.weight' holds float8"),
        (lambda w: {**w, "last.weight": w["last.weight"].to(torch.complex64)}, "'last.weight' holds complex64"),
    ],
)
def test_weights_of_another_net_never_fit(
    spoil: Callable[[Weights], Weights], words: str, ignore_surplus: bool
) -> None:
    with pytest.raises(MisfitError, match=words) as caught:
        load_weights(net := empty(), spoil(negative().state_dict()), ignore_surplus=ignore_surplus)
    assert "\n" not in str(caught.value)
    assert same(net, empty())


def test_its_own_names_come_before_a_copy_behind_a_prefix() -> None:
    other = {f"model_ema.{key}": t + 1 for key, t in negative().state_dict().items()}
    load_weights(net := empty(), {**negative().state_dict(), **other}, ignore_surplus=True)
    assert same(net, negative())


def checkpoint(folder: Path, net: Net) -> Path:
    """Compiled, in half precision, with an optimizer beside it."""
    weights = with_optimizer(behind("state_dict.module._orig_mod.")(net.half().state_dict()))
    save_file({key: t.contiguous() for key, t in weights.items()}, path := folder / "last.safetensors")
    net.float()
    return path


def test_a_suspect_in_a_checkpoint(tmp_path: Path) -> None:
    """As `verify` opens it: the answers of the same numbers in float32."""
    net = build("A", SHAPE, 10, WIDTH, 0, CPU).eval()
    config = SuspectConfig(at=str(checkpoint(tmp_path, net)), architecture="A", width=WIDTH)
    with pytest.raises(UserError, match="2 tensors are none of its own, 'epoch'") as caught:
        open_suspect(config, SHAPE, 10)
    assert caught.value.argument == "ignore_surplus"
    given = SuspectConfig(**{**vars(config), "ignore_surplus": True})
    torch.testing.assert_close(query(given), predict_probabilities(net, IMAGES / 255), atol=1e-6, rtol=0)
    assert describe_suspect(given) != describe_suspect(config), "a transcript says so"


def test_a_victim_in_a_checkpoint(victim: Net, digits: Dataset, own: Tensor, tmp_path: Path) -> None:
    """As `enroll` reads it."""
    net = build("A", SHAPE, 10, 8, 0, CPU)
    net.load_state_dict(victim.state_dict())
    path = checkpoint(tmp_path, net)
    plan = small_plan(digits, read_owner_model(path, "A", 8).victim)
    with pytest.raises(UserError, match="2 tensors are none of its own") as caught:
        read_owner_model(path, "A", 8).put(context_on(Store(str(tmp_path / "a"))), plan.victim)
    assert caught.value.argument == "ignore_surplus"
    context = context_on(Store(str(tmp_path / "b")))
    read_owner_model(path, "A", 8, ignore_surplus=True).put(context, plan.victim)
    found = predict_probabilities(context.net(plan.victim), own)
    torch.testing.assert_close(found, predict_probabilities(net.eval(), own), atol=1e-6, rtol=0)


@pytest.mark.parametrize("nested", ["", "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("name", ["it's.pt", "checkpoint.ckpt", "misnamed.safetensors"])
def test_a_pickle_is_refused_with_the_line_that_converts_it(name: str, nested: str, tmp_path: Path) -> None:
    """The line of the message is run as it stands, and what it writes is opened."""
    weights = negative().state_dict()
    weights["shared"] = weights["last.weight"].T
    torch.save({nested: weights, "epoch": 3} if nested else weights, tmp_path / name)
    config = SuspectConfig(at=str(tmp_path / name), architecture="A", width=WIDTH, kind="weights", ignore_surplus=True)
    for read in (lambda: open_suspect(config, SHAPE, 10), lambda: read_owner_model(tmp_path / name, "A", WIDTH)):
        with pytest.raises(UserError, match="may be a pickle, which runs code when read and is never opened") as caught:
            read()
        assert "\n" not in str(caught.value)
    line = str(caught.value).partition("converts it: ")[2]
    assert line == conversion(tmp_path / name)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(line, {})
    (converted,) = (path for path in tmp_path.iterdir() if path.name != name)
    found = query(SuspectConfig(**{**vars(config), "at": str(converted)}))
    torch.testing.assert_close(found, predict_probabilities(negative(), IMAGES / 255), atol=1e-6, rtol=0)


@pytest.mark.parametrize("start", [b"\x80", b"PK"])
def test_a_header_of_any_length_is_one(start: bytes, tmp_path: Path) -> None:
    """The length of a header stands first: one of 128 bytes begins as a pickle does, one of 19,280 as a zip."""
    path, length = tmp_path / "w.safetensors", int.from_bytes(start, "little")
    save_file({"w": torch.ones(3)}, path, {"note": ""})
    missing = length - int.from_bytes(path.read_bytes()[:8], "little")
    save_file({"w": torch.ones(3)}, path, {"note": "x" * missing})
    assert path.read_bytes().startswith(start)
    assert read_weights(path, "x")[0].keys() == {"w"}


def test_files_that_are_too_large_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"x: expected a file of safetensors at .*No such file"):
        read_weights(tmp_path / "none.safetensors", "x")
    monkeypatch.setattr("uapfp_dist.models.weights_file.MOST_BYTES", 10)
    with pytest.raises(UserError, match="x: expected at most"):
        read_weights(tmp_path / "w.safetensors", "x")
