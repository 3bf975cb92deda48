"""Kits on disk: saved whole, every byte checked when loaded."""

import hashlib
import json
import os
import stat
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import StrictInt
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.fingerprints.sibling_test import SiblingTest
from uapfp_dist.messages import one_line
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.serialization import from_json, to_json
from uapfp_dist.verification.kit.check import problem_of
from uapfp_dist.verification.kit.churn_sets import ChurnSets
from uapfp_dist.verification.kit.info import KitInfo, parse_wire
from uapfp_dist.verification.kit.input_check import InputCheck
from uapfp_dist.verification.kit.jpeg_files import JpegFiles
from uapfp_dist.verification.kit.kit import Kit

VERSION = 5
"""1: without images that check the input; 2: without churn points, as kits of victims without siblings still
are; 3: without an exact sibling test, as most are; 4: with one; 5: of JPEG files, with or without the other parts."""
INDEX, TENSORS = "kit.json", "kit.safetensors"

TENSOR_NAMES = {
    **{name: name for name in ("images", "victim_labels", "clean", "victim", "natural", "agrees")},
    "log_odds_agree": "gain",
    "log_odds_disagree": "loss",
}
"""Field of a kit to the name of its tensor in the file; those by format have names of their own."""

INPUT_CHECK_NAMES = {"images": "input_check", "labels": "input_check_labels", "agrees": "input_check_agrees"}
"""The same for the fields of its input check."""

CHURN_NAMES = {f"churn_{name}": name for name in ("points", "budgets", "weights", "intercepts", "committee", "agrees")}
"""Name of a tensor in the file to the field of a kit's churn sets."""

EXACT_NAMES = {f"exact_{name}": name for name in ("index", "labels", "weights", "centre", "scale")}
"""The same for its exact sibling test."""

JPEG_NAMES = {f"jpeg_{name}": name for name in ("data", "ends")}
"""The same for its JPEG files."""

MOST_INDEX_BYTES = 16 * 2**20
MOST_TENSOR_BYTES = 4 * 2**30


@dataclass(frozen=True)
class _File:
    sha256: str
    bytes: int


@dataclass(frozen=True)
class _Body:
    """What the digest is of."""

    version: int
    files: dict[str, _File]
    n_classes: StrictInt
    class_names: tuple[str, ...]
    info: KitInfo


def save_kit(kit: Kit, path: str | Path) -> str:
    """Write a kit as the folder `path`, whole or not at all; returns its digest.

    Raises:
        UserError: something else is there already, or nothing can be written.
    """
    path = Path(path)
    tensors = _packed(kit)
    body = _body(kit, tensors)
    digest = hashlib.sha256(_canonical(body)).hexdigest()
    if path.exists() or path.is_symlink():
        if (path / INDEX).is_file() and load_kit(path).digest == digest:
            return digest
        raise UserError(f"kit: expected a new folder, {path} is there already and is not this kit; choose another")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        (temporary / TENSORS).write_bytes(tensors)
        (temporary / INDEX).write_bytes(_canonical({"digest": digest, "kit": body}))
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"kit: expected a folder that can be written at {path} ({error.strerror})") from error
    return digest


def with_digest(kit: Kit) -> Kit:
    """The kit with the digest that `save_kit` gives it."""
    return replace(kit, digest=hashlib.sha256(_canonical(_body(kit, _packed(kit)))).hexdigest())


def _packed(kit: Kit) -> bytes:
    # safetensors refuses tensors that share memory
    data: bytes = save_tensors({name: t.detach().cpu().contiguous().clone() for name, t in _flat(kit).items()})
    return data


def _body(kit: Kit, tensors: bytes) -> Any:
    files = {TENSORS: _File(hashlib.sha256(tensors).hexdigest(), len(tensors))}
    version = 5 if kit.jpeg else 4 if kit.exact else 3 if kit.churn else 2 if kit.input_check else 1
    return to_json(_Body(version, files, kit.n_classes, kit.class_names, kit.info))


def load_kit(path: str | Path, expect: str | None = None) -> Kit:
    """Read a kit and check every byte of it.

    Args:
        path: its folder.
        expect: the digest that was committed to, if one was.

    Raises:
        UserError: another digest, a changed byte, a newer version, files outside the folder, shapes that do not fit.
    """
    folder = Path(path)
    body, digest = _read_index(folder)
    if expect is not None and digest != expect.lower().removeprefix("sha256:"):
        raise UserError(
            f"kit {folder}: expected the digest {expect:.64}, found {digest}; this is another kit", argument="expect"
        )
    data = _read_tensors(folder, body.get("files"))
    try:
        found = from_json(_Body, body)
        kit = _unflat(load_tensors(data), digest, found)
        problem = problem_of(kit) or _problem_of_keys(body, to_json(found))
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        problem = one_line(f"{type(error).__name__}: {error}", 120)
    if problem:
        raise UserError(f"kit {folder}: expected the parts of a kit, they do not fit ({problem}); get the kit again")
    return kit


def _read_index(folder: Path) -> tuple[Any, str]:
    """(body, digest): JSON of a version that is known, as it was written."""
    raw = _read(folder / INDEX, MOST_INDEX_BYTES)
    try:
        whole = json.loads(raw)
        body, digest, version = whole["kit"], whole["digest"], whole["kit"]["version"]
        same = _canonical(whole) == raw and hashlib.sha256(_canonical(body)).hexdigest() == digest
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"kit {folder}: expected the index of a kit, {INDEX} is none; get the kit again") from error
    if not isinstance(version, int) or version > VERSION:
        raise UserError(f"kit {folder}: expected version {VERSION} or older, got {version!r:.20}; update uapfp_dist")
    if not same:
        raise _changed(folder, INDEX)
    return body, digest


def _problem_of_keys(before: object, after: object) -> str:
    """Names a key of JSON that reading did not keep; empty where none is lost. One of null may be left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        if unknown := [key for key in before if key not in after and before[key] is not None]:
            return f"{unknown[0]!r} is unknown"
        return next(filter(None, (_problem_of_keys(before[key], after[key]) for key in before if key in after)), "")
    if isinstance(before, list) and isinstance(after, list):
        return next(filter(None, map(_problem_of_keys, before, after)), "")
    return ""


def _read_tensors(folder: Path, files: Any) -> bytes:
    """The one file of tensors, as the index has it."""
    if not isinstance(files, dict) or list(files) != [TENSORS] or not isinstance(files[TENSORS], dict):
        raise UserError(f"kit {folder}: expected the one file {TENSORS}, its index names {files!r:.60}")
    data = _read(folder / TENSORS, MOST_TENSOR_BYTES)
    if hashlib.sha256(data).hexdigest() != files[TENSORS].get("sha256"):
        raise _changed(folder, TENSORS)
    return data


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _changed(folder: Path, name: str) -> UserError:
    return UserError(f"kit {folder}: expected {name} as it was written, its bytes have changed; get the kit again")


def _read(path: Path, most: int) -> bytes:
    """A regular file of bounded size, never through a link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise UserError(
            f"kit {path.parent}: expected a folder with {INDEX} and {TENSORS}, {path.name} cannot be read "
            f"({error.strerror}); links are not followed"
        ) from error
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise UserError(
                f"kit {path.parent}: expected {path.name} as a file of at most {most >> 20} MiB, got "
                f"{status.st_size >> 20} MiB{'' if stat.S_ISREG(status.st_mode) else ' of another kind'}"
            )
        return file.read(most + 1)


def _flat(kit: Kit) -> dict[str, Tensor]:
    tensors = {wire: getattr(kit, name) for name, wire in TENSOR_NAMES.items()}
    if kit.input_check:
        tensors |= {wire: getattr(kit.input_check, name) for name, wire in INPUT_CHECK_NAMES.items()}
    if kit.churn:
        tensors |= {wire: getattr(kit.churn, name) for wire, name in CHURN_NAMES.items()}
    if kit.exact:
        tensors |= {wire: getattr(kit.exact, name) for wire, name in EXACT_NAMES.items()}
    if kit.jpeg:
        tensors |= {wire: getattr(kit.jpeg, name) for wire, name in JPEG_NAMES.items()}
    tensors |= {f"views/{fmt.wire}": t for fmt, t in kit.views.items()}
    tensors |= {f"similarity/{fmt.wire}": t for fmt, t in kit.similarity.items()}
    return tensors | {f"encoder/{fmt.wire}/{name}": t for fmt, e in kit.encoders.items() for name, t in e.items()}


def _unflat(tensors: dict[str, Tensor], digest: str, body: _Body) -> Kit:
    by_format: dict[str, dict[ResponseFormat, Tensor]] = {"views": {}, "similarity": {}}
    encoders: dict[ResponseFormat, dict[str, Tensor]] = {}
    for name in [name for name in tensors if "/" in name]:
        kind, fmt, *part = name.split("/")
        if part:
            encoders.setdefault(parse_wire(fmt), {})[part[0]] = tensors.pop(name)
        else:
            by_format[kind][parse_wire(fmt)] = tensors.pop(name)
    files = body.version >= 5
    jpeg = {name: tensors.pop(wire) for wire, name in JPEG_NAMES.items()} if files else None
    check = {name: tensors.pop(wire) for name, wire in INPUT_CHECK_NAMES.items()} if body.version >= 2 else None
    has_churn, has_exact = (
        (given is not None if files else body.version >= version)
        for given, version in ((body.info.churn, 3), (body.info.exact, 4))
    )
    churn = {name: tensors.pop(wire) for wire, name in CHURN_NAMES.items()} if has_churn else None
    exact = {name: tensors.pop(wire) for wire, name in EXACT_NAMES.items()} if has_exact else None
    if strange := sorted(tensors.keys() - TENSOR_NAMES.values()):
        raise ValueError(f"tensor {strange[0]!r} is none of a kit's")
    return Kit(
        digest=digest,
        n_classes=body.n_classes,
        class_names=body.class_names,
        info=body.info,
        views=by_format["views"],
        encoders=encoders,
        similarity=by_format["similarity"],
        input_check=InputCheck(**check) if check else None,
        churn=ChurnSets(**churn) if churn else None,
        exact=SiblingTest(**exact) if exact else None,
        jpeg=JpegFiles(**jpeg) if jpeg else None,
        **{name: tensors[wire] for name, wire in TENSOR_NAMES.items()},
    )
