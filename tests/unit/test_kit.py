"""Kits on disk: what was written comes back, and nothing else is ever read."""

import os
import pickle
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from forgery import forge, refused, tamper
from kits import FORMATS, N_IMAGES, make_test_kit
from safetensors.torch import load_file, save_file

from uapfp_dist.errors import UserError
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.verification.judging.judge import judge
from uapfp_dist.verification.judging.verdict import SuspectResponses
from uapfp_dist.verification.kit.io import INDEX, TENSORS, load_kit, save_kit
from uapfp_dist.verification.kit.kit import FEWEST_IMAGES, Kit


@pytest.fixture(scope="module")
def kit() -> Kit:
    """Small."""
    return make_test_kit()


@pytest.fixture
def folder(kit: Kit, tmp_path: Path) -> Path:
    """A kit on disk."""
    save_kit(kit, tmp_path / "kit")
    return tmp_path / "kit"


# --- there and back


def test_a_kit_comes_back_as_it_was(kit: Kit, folder: Path) -> None:
    again = load_kit(folder, expect=kit.digest)
    for field in fields(Kit):
        mine, theirs = getattr(kit, field.name), getattr(again, field.name)
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs), field.name
            assert mine.dtype == theirs.dtype
        elif field.name in ("views", "similarity"):
            assert all(torch.equal(mine[fmt], theirs[fmt]) for fmt in FORMATS)
        elif field.name != "encoders":
            assert mine == theirs
    suspects = [SuspectResponses("a", kit.victim, PROBABILITIES)]
    assert judge(kit, suspects) == judge(again, suspects)


def test_the_digest_is_known_before_it_is_written_and_covers_everything(kit: Kit, tmp_path: Path) -> None:
    """The same kit twice has the same; any part changed has another."""
    assert save_kit(kit, tmp_path / "a") == save_kit(kit, tmp_path / "b") == kit.digest
    assert len(kit.digest) == 64
    moved = kit.images.clone()
    moved[0, 0, 0, 0] ^= 1
    others = [
        replace(kit, images=moved),
        replace(kit, log_odds_agree=kit.log_odds_agree + 1e-12),
        replace(kit, agrees=~kit.agrees),
        replace(kit, info=replace(kit.info, alpha=0.06)),
        replace(kit, class_names=tuple("abdc")),
    ]
    digests = {save_kit(other, tmp_path / str(i)) for i, other in enumerate(others)}
    assert len(digests | {kit.digest}) == len(others) + 1


def test_no_kit_is_overwritten(kit: Kit, folder: Path) -> None:
    """The same again is harmless; another is refused, and so is any other folder."""
    assert save_kit(kit, folder) == kit.digest
    with pytest.raises(UserError, match="there already"):
        save_kit(replace(kit, info=replace(kit.info, alpha=0.1)), folder)
    (folder.parent / "other").mkdir()
    with pytest.raises(UserError, match="there already"):
        save_kit(kit, folder.parent / "other")
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


# --- what is refused


def test_every_flipped_bit_is_noticed(folder: Path) -> None:
    """Some positions of both files, the first and the last among them; nobody has to remember the digest."""
    for name in (INDEX, TENSORS):
        good = (folder / name).read_bytes()
        for at in {0, 1, len(good) // 3, len(good) // 2, len(good) - 2, len(good) - 1}:
            (folder / name).write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            refused(folder, "get the kit again|update uapfp_dist|expected")
        (folder / name).write_bytes(good[:-1])
        refused(folder, "get the kit again")
        (folder / name).write_bytes(good + b" ")
        refused(folder, "changed")
        (folder / name).write_bytes(good)
    load_kit(folder)


def test_another_kit_than_was_committed_to_is_refused(kit: Kit, folder: Path) -> None:
    refused(folder, "another kit", expect="0" * 64)
    load_kit(folder, f"SHA256:{kit.digest}".lower())


def test_a_newer_version_is_refused(folder: Path) -> None:
    forge(folder, lambda body: body.update(version=6))
    refused(folder, "version 5 or older, got 6; update")
    forge(folder, lambda body: body.update(version="new"))
    refused(folder, "version")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda body: body.pop("files"), "one file"),
        (lambda body: body["info"].update(alpha=str(body["info"]["alpha"])), "info.alpha"),
        (lambda body: body.update(n_classes=str(body["n_classes"])), "n_classes"),
        (lambda body: body["info"].update(strange=1), "'strange' is unknown"),
        (lambda body: body["info"]["models"][0].update(strange=[0]), "'strange' is unknown"),
    ],
)
def test_nothing_of_an_index_is_converted_or_dropped(
    change: Callable[[dict[str, Any]], object], word: str, folder: Path
) -> None:
    forge(folder, change)
    refused(folder, word)


def test_a_tensor_of_no_meaning_is_refused(folder: Path) -> None:
    save_file(load_file(folder / TENSORS) | {"strange": torch.zeros(1)}, folder / TENSORS)
    forge(folder, lambda body: None)
    refused(folder, "'strange' is none of a kit's")


@pytest.mark.parametrize("path", ["../elsewhere.safetensors", "/etc/passwd", "sub/kit.safetensors", "kit.pkl"])
def test_no_path_in_the_index_is_followed(path: str, folder: Path) -> None:
    def point_elsewhere(body: dict[str, Any]) -> None:
        body["files"] = {path: body["files"][TENSORS]}

    forge(folder, point_elsewhere)
    refused(folder, "one file")


@pytest.mark.parametrize("said", [3, None, [], "kit.safetensors"])
def test_what_the_index_says_of_a_file_may_be_anything(said: Any, folder: Path) -> None:
    forge(folder, lambda body: body["files"].update({TENSORS: said}))
    refused(folder, "one file")


@pytest.mark.parametrize("letter", ["\x1b[2J", "\n", "\r", "\u202e", "\ud800", "\x00"])
def test_no_text_of_a_kit_moves_a_terminal_or_breaks_a_page(letter: str, folder: Path) -> None:
    good = (folder / INDEX).read_bytes()
    for change in (
        lambda body: body.update(class_names=[f"{letter}a", *body["class_names"][1:]]),
        lambda body: body["info"].update(limits=[f"None at all.{letter}"]),
        lambda body: body["info"]["decided_by"]["prob"].update(why=letter),
        lambda body: body["info"]["models"][0].update(attack=letter),
    ):
        forge(folder, change)
        refused(folder, "cannot be printed|valid string")
        (folder / INDEX).write_bytes(good)
    load_kit(folder)


@pytest.mark.parametrize("name", ["top" + "9" * 5000, "top0", "top2\x1b", "loud", "soft", "probabilities", "label"])
def test_formats_that_there_are_not_are_refused(name: str, folder: Path) -> None:
    tensors = {key.replace("top2", name): tensor for key, tensor in load_file(folder / TENSORS).items()}
    save_file(tensors, folder / TENSORS)
    forge(folder, lambda body: body["info"]["decided_by"].update({name: body["info"]["decided_by"].pop("top2")}))
    refused(folder, "unknown format|decided_by.top9")


@pytest.mark.parametrize("name", [INDEX, TENSORS])
def test_links_pipes_and_giants_are_not_read(name: str, folder: Path) -> None:
    """A giant is a sparse file: it takes no room, and is refused by its size."""
    good = (folder / name).rename(folder.parent / "good")
    (folder / name).symlink_to(good)
    refused(folder, "links")
    (folder / name).unlink()
    refused(folder, "cannot be read")
    os.mkfifo(folder / name)
    refused(folder, "kind")
    (folder / name).unlink()
    with (folder / name).open("wb") as file:
        file.truncate(10 * 2**30)
    refused(folder, "10240 MiB")


class Malice:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_opened(folder: Path, tmp_path: Path) -> None:
    (folder / TENSORS).write_bytes(pickle.dumps(Malice(tmp_path / "ran")))
    forge(folder)
    refused(folder, "do not fit")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"kit": 1}', b"\xff\xfe", b"[" * 100_000, b'{"kit":{},"digest":1}']
)
def test_an_index_that_is_none_is_refused(text: bytes, folder: Path) -> None:
    (folder / INDEX).write_bytes(text)
    refused(folder, "expected")


@pytest.mark.parametrize(
    "spoil",
    [
        tamper("natural", lambda t: t + N_IMAGES),
        tamper("views/prob", lambda t: t - 1000),
        tamper("clean", lambda t: t[:0]),
        tamper("gain", lambda t: t * torch.nan),
        tamper("encoder/hard/w1", lambda t: t[:-1]),
        tamper("encoder/hard/b2", lambda t: t / 0),
        tamper("similarity/top2", lambda t: t[:-1]),
        tamper("images", lambda t: t.float()),
        tamper("victim", lambda t: t[:, :-1]),
        tamper("agrees", lambda t: t.long()),
        tamper("victim_labels", lambda t: t - 1),
        tamper("victim_labels", lambda t: t + 50),
        lambda folder: forge(folder, lambda body: body["info"].update(limits="none at all")),
        lambda folder: forge(folder, lambda body: body["info"].pop("models")),
        lambda folder: forge(folder, lambda body: body["info"].update(models=[{}] * 63)),
        lambda folder: forge(folder, lambda body: body["info"].update(decided_by={})),
        lambda folder: forge(folder, lambda body: body["info"]["decided_by"].update(prob={"method": "magic"})),
        lambda folder: forge(folder, lambda body: body["info"].update(alpha="much")),
        lambda folder: forge(folder, lambda body: body.update(n_classes=10**9)),
        lambda folder: forge(folder, lambda body: body.update(class_names=["a", 1, None, {}])),
        lambda folder: forge(folder, lambda body: body.update(info=[])),
    ],
)
def test_parts_that_do_not_fit_are_refused(spoil: Callable[[Path], None], folder: Path) -> None:
    """A digest says who wrote it, not that it makes sense."""
    spoil(folder)
    refused(folder, "do not fit")


# --- what is queried


@pytest.mark.parametrize("method", ["uap", "weighted_errors"])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_no_more_is_wanted_than_allowed(method: str, fmt: ResponseFormat) -> None:
    """Each image once; what decides comes first; more allowed never means less asked of it."""
    kit = make_test_kit(method=method)
    everything = kit.required_images(fmt, None)
    assert len(everything.unique()) == len(everything)
    assert set(everything.tolist()) == {*kit.natural.tolist(), *kit.views[fmt].flatten().tolist()}
    before: set[int] = set()
    for budget in range(20, N_IMAGES + 1):
        wanted = kit.required_images(fmt, budget)
        assert len(wanted) == len(wanted.unique()) <= budget
        whole = torch.isin(kit.views[fmt], wanted).all(2).all(0).sum()
        by_uap = kit.decided_by(fmt, int(whole)) == "uap"
        now = set(wanted.tolist()) & set((kit.views[fmt].flatten() if by_uap else kit.natural).tolist())
        assert by_uap or len(now) >= len(before)
        before = now
    assert before == set((kit.natural if method == "weighted_errors" else kit.views[fmt].flatten()).tolist())


def test_fewer_than_are_of_use_are_refused(kit: Kit) -> None:
    assert kit.required_images(LABEL, FEWEST_IMAGES).tolist() == kit.natural[:FEWEST_IMAGES].tolist()
    with pytest.raises(UserError, match=f"at least {FEWEST_IMAGES}"):
        kit.required_images(LABEL, FEWEST_IMAGES - 1)


def test_where_few_views_fit_the_errors_are_asked_and_decide() -> None:
    """A rule of the kit, fixed before anybody answers, and the judge follows it: half of the views or none."""
    kit = make_test_kit(method="uap", seed=3)
    views = torch.arange(20).view(2, 5, 2)  # five views of four images each, none in common
    kit = replace(kit, views=kit.views | {PROBABILITIES: views}, natural=torch.arange(24, 40))
    three = set(views[:, :3].flatten().tolist())
    assert three <= set(kit.required_images(PROBABILITIES, 12).tolist())
    assert kit.required_images(PROBABILITIES, 11).tolist() == kit.natural[:11].tolist()
    assert [kit.decided_by(PROBABILITIES, n) for n in range(6)] == ["weighted_errors"] * 3 + ["uap"] * 3
    assert make_test_kit(method="weighted_errors").decided_by(PROBABILITIES, 5) == "weighted_errors"


def test_the_judge_follows_that_rule() -> None:
    kit = make_test_kit(method="uap", seed=3)
    asked = torch.full_like(kit.victim, torch.nan)
    asked[kit.natural] = kit.victim[kit.natural]
    verdict = judge(kit, [SuspectResponses("a", asked, PROBABILITIES)])[0]
    assert (verdict.decided_by, verdict.claim) == ("weighted_errors", "piracy")
    assert judge(kit, [SuspectResponses("a", kit.victim, PROBABILITIES)])[0].decided_by == "uap"
