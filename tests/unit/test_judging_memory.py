"""Responses stay on disk: judging needs the memory of what it works on, not of all that suspects said."""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from uapfp_dist.config.presets import preset
from uapfp_dist.config.schema import DataConfig, ModificationConfig, SiblingConfig, StudyConfig
from uapfp_dist.data import load
from uapfp_dist.evaluation.plan import make_plan
from uapfp_dist.fingerprints.blocks import CLEAN, NATURAL, PAPER, BlockKey
from uapfp_dist.fingerprints.methods.encoder_method import CHUNK
from uapfp_dist.fingerprints.probe_data import Responses
from uapfp_dist.fingerprints.resamples import make_resample
from uapfp_dist.fingerprints.response_matrix import ResponseMatrix
from uapfp_dist.fingerprints.scoring import AT_A_TIME, score_resamples
from uapfp_dist.rng import torch_rng
from uapfp_dist.storage.artifacts import map_tensors
from uapfp_dist.storage.store import Store

GIB = 2**30
N_CLASSES, N_IMAGES, N_SUSPECTS = 200, 2000, 400
OTHERS = tuple(BlockKey(f"other{i}") for i in range(10))
"""As many further blocks as an evaluation has."""
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most of them inside the block, in the end."""
    found, over = [anonymous()], threading.Event()

    def watch() -> None:
        while not over.is_set():
            found[0] = max(found[0], anonymous())
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


@pytest.mark.parametrize("url", ["{tmp}/store", "memory://uapfp-mapped/{tmp}"])
def test_mapped_artifacts_are_what_was_written(url: str, tmp_path: Path) -> None:
    store = Store(url.format(tmp=tmp_path))
    tensors = {"a": torch.rand(5, 3), "b/c": torch.arange(4)}
    store.put("answers", "k", tensors, {"x": 1})
    store.put("answers", "empty", {}, {})
    found = store.get_mapped("answers", "k")
    store.discard("answers", "k")
    assert found.info == {"x": 1}
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert store.get_mapped("answers", "empty").tensors == {}
    with pytest.raises(FileNotFoundError):
        store.get_mapped("answers", "k")


@on_linux
def test_mapped_artifacts_take_no_memory(tmp_path: Path) -> None:
    store, size = Store(str(tmp_path)), 2**23
    for i in range(8):
        store.put("answers", str(i), {"a": torch.full((size // 4,), float(i))}, {})
    store.get_mapped("answers", "0")  # what the first one costs once
    before = anonymous()
    held = [store.get_mapped("answers", str(i)).tensors["a"] for i in range(8)]
    assert [float(one.sum()) for one in held] == [i * size / 4 for i in range(8)]
    assert anonymous() - before < 3 * size


def test_the_largest_preset_fits() -> None:
    """Counted, not allocated: what two threads hold at most when they fit encoders of 200 classes, in 4 GB."""
    config = preset("tiny_imagenet")
    fingerprint, span = config.fingerprint, config.encoder.span
    models = 1 + 2 * config.verdict.n_train + max(config.zoo.n_other_piracy)
    rows, dims = models * fingerprint.n_views, 2 * fingerprint.n_points * N_CLASSES
    fingerprints, basis = rows * dims, dims * span
    finding_it = 2 * rows**2 * 4 + rows * 2**13 + 3 * basis  # in double precision; QR
    kept = AT_A_TIME * (basis + rows * span)
    scoring = 2 * CHUNK
    thread = 4 * (max(fingerprints + finding_it, scoring) + kept)
    assert 2 * thread < 3.5 * GIB  # beside torch itself


def sparse_file(path: Path, shapes: Mapping[BlockKey, tuple[int, int]], filled: Mapping[BlockKey, Tensor]) -> Responses:
    """A file of responses of which only some are written: the rest are holes, which take no disk and read as zeros."""
    header, at = dict[str, object](), 0
    for key, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[key.wire] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        file.truncate(start + at)
        for key, tensor in filled.items():
            offset = 0
            for other, shape in shapes.items():
                if other == key:
                    break
                offset += 4 * shape[0] * shape[1]
            file.seek(start + offset)
            file.write(tensor.numpy().tobytes())
    return Responses({BlockKey.parse(name): tensor for name, tensor in map_tensors(str(path)).items()})


def random_responses(stolen: bool, blocks: Sequence[BlockKey], number: int) -> dict[BlockKey, Tensor]:
    """Of a family: those stolen resemble each other."""
    found = {}
    for key in blocks:
        n = 100 if key == NATURAL else N_IMAGES
        base = torch.randn(n, N_CLASSES, generator=torch_rng("family", stolen, key.wire))
        found[key] = (2 * (base + torch.randn(n, N_CLASSES, generator=torch_rng("own", number, key.wire)))).softmax(1)
    return found


@pytest.mark.heavy
@on_linux
def test_four_hundred_suspects_of_two_hundred_classes_fit_in_4_gb(tmp_path: Path) -> None:
    """Real sizes but for the training's length: two threads, two resamples, probabilities and labels."""
    base = preset("fashion_mnist")
    zoo = replace(base.zoo, n_piracy=190, n_homologous=193)
    nothing = {"modifications": ModificationConfig(), "studies": StudyConfig(), "siblings": SiblingConfig()}
    config = replace(base, data=DataConfig(), zoo=zoo, **nothing)
    members = make_plan(config, 0, load("digits", None)).judged
    assert len(members) > N_SUSPECTS
    resamples = [make_resample(members, i, 5, 39, "0", train_pool=20) for i in range(2)]
    training = {
        0,
        *(row for r in resamples for row in (*r.training.piracy, *r.training.homologous, *r.training.other_victim)),
    }
    blocks = (CLEAN, PAPER, NATURAL)
    shapes = {key: (100 if key == NATURAL else N_IMAGES, N_CLASSES) for key in (*blocks, *OTHERS)}
    responses = [
        sparse_file(
            tmp_path / f"{row}.safetensors",
            shapes,
            random_responses(member.role in ("victim", "piracy"), blocks, row) if row in training else {},
        )
        for row, member in enumerate(members)
    ]
    views = torch.randint(N_IMAGES, (200, 100), generator=torch_rng("views"))
    matrix = ResponseMatrix(
        members, tuple(responses), views, {PAPER: views}, 20, responses[0].blocks[NATURAL].argmax(1), 100, (0.5, 0.7)
    )
    held = sum(tensor.nbytes for one in responses for tensor in one.blocks.values())
    assert held > 6 * GIB
    with peak() as most:
        encoder = replace(config.encoder, epochs=1)
        found = list(score_resamples(matrix, resamples, ("uap_paper",), encoder, "seed", threads=2))
    assert most[0] < 4e9
    assert all(bool(one.scores.isfinite().all()) for scored in found for one in scored.methods["uap_paper"])
