"""The kit: all that judging a suspect needs and nothing that an attacker could train on; fixed before it is used.

On disk it is a folder of two files, without pickle. `kit.json` says what the kit is and covers and holds the SHA-256 of
`kit.safetensors`; its own canonical form is hashed into the digest, which an owner publishes before she asks anybody.
"""

import hashlib
import json
import os
import re
import stat
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from uapfp_dist.errors import UserError, one_line
from uapfp_dist.science.blackbox import k_of
from uapfp_dist.specs import Format

VERSION = 1
INDEX, TENSORS = "kit.json", "kit.safetensors"
MOST_INDEX_BYTES = 16 * 2**20
MOST_TENSOR_BYTES = 4 * 2**30
ROW = ("group", "part", "attack", "labels")
"""What `info` says of each model that calibrates or tests."""
FORMAT = r"prob|hard|top[1-9][0-9]{0,8}"
"""What a format of answers is called."""
FEWEST_IMAGES = 10
"""Natural errors below which asking is no use: hardly a pirate would stand out."""


@dataclass(frozen=True)
class Kit:
    """What is sent to a suspect, what the victim says to it, and how innocent models scored.

    Q images, C classes, n points a view, V views, N natural errors, M models that calibrate or measure power.
    """

    digest: str
    """SHA-256 over everything in the kit: the commitment. Empty until it is saved."""
    images: Tensor
    """(Q, c, h, w) uint8: every image that may be sent, each once."""
    n_classes: int
    class_names: tuple[str, ...]
    victim_labels: Tensor
    """(Q,) int64: what the victim says."""
    clean: Tensor
    """(K,) int64 indices of unperturbed images of the victim's own training set."""
    info: dict[str, Any]
    """JSON: alpha, decided_by, models, sizes, power, costs, configuration, limits."""
    victim: Tensor
    """(Q, C) float32: the victim's probabilities."""
    natural: Tensor
    """(N,) int64 indices of its natural errors and lowest margins, the most telling first."""
    gain: Tensor
    """(N,) float64: log odds of piracy where a suspect agrees with the victim (protocol 3.3)."""
    loss: Tensor
    """(N,) float64: the same where it does not."""
    agrees: Tensor
    """(M, N) bool: which models agree there."""
    views: dict[Format, Tensor] = field(default_factory=dict)
    """Format to (2, V, n) int64: the images of each view, clean and perturbed."""
    encoders: dict[Format, dict[str, Tensor]] = field(default_factory=dict)
    """Format to the encoder's float32 `w1` (D, H), `b1` (H,), `w2` (H, E), `b2` (E,)."""
    similarity: dict[Format, Tensor] = field(default_factory=dict)
    """Format to (M, V) float64: every model's similarity to the victim, view by view."""

    @property
    def alpha(self) -> float:
        """Tolerated rate of false accusation that its groups are large enough for."""
        return float(self.info["alpha"])

    def scored_as(self, fmt: Format) -> Format:
        """The kit's format by which answers in `fmt` are judged: the same, or the next that gives away less.

        Raises:
            UserError: not `prob`, `hard` or `top<k>`.
        """
        if fmt in self.encoders:
            return fmt
        least = self.n_classes if fmt == "prob" else 0 if fmt == "hard" else k_of(fmt)
        tops = [f for f in self.encoders if f.startswith("top") and k_of(f) <= least]
        return max(tops, key=k_of) if tops else "hard"

    def decided_by(self, fmt: Format, n_whole: int) -> str:
        """`uap` or `weighted_errors`, as fixed at enrolment; on fewer than half of its views `uap` decides nothing.

        Args:
            fmt: one of the kit's formats.
            n_whole: views that are sent, or answered, whole.
        """
        chosen: str = self.info["decided_by"][fmt]["method"]
        return chosen if 2 * n_whole >= self.views[fmt].shape[1] else "weighted_errors"

    def decided_because(self, fmt: Format, n_whole: int) -> str:
        """Why that method decides, in words; arguments as of `decided_by`."""
        if 2 * n_whole < self.views[fmt].shape[1]:
            return "fewer than half of the views are asked, or were answered, whole"
        why: str = self.info["decided_by"][fmt]["why"]
        return why

    def wanted(self, fmt: Format, max_queries: int | None) -> Tensor:
        """(W,) int64: the images to send to a suspect that answers `fmt`, W at most `max_queries`.

        Images of the method that decides come first, then as much of the other as fits; None sends all of both. Where
        not even half of the views fit, weighted errors decide.

        Raises:
            UserError: not even the smallest useful set fits.
        """
        fmt = self.scored_as(fmt)
        views = [torch.cat([clean, moved]).unique() for clean, moved in zip(*self.views[fmt], strict=True)]
        half = len(torch.cat(views[: (len(views) + 1) // 2]).unique())
        method = self.decided_by(fmt, len(views) if max_queries is None or max_queries >= half else 0)
        smallest = min(FEWEST_IMAGES, len(self.natural))
        if max_queries is not None and max_queries < smallest:
            raise UserError(f"max-queries: expected at least {smallest} images, got {max_queries}; allow more")
        errors = [self.natural[i : i + 1] for i in range(len(self.natural))]
        chosen: dict[int, None] = {}
        for part in [*views, *errors] if method == "uap" else [*errors, *views]:
            grown = chosen | dict.fromkeys(part.tolist())
            if max_queries is not None and len(grown) > max_queries:
                continue
            chosen = grown
        return torch.tensor(list(chosen), dtype=torch.int64)


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


def load_kit(path: str | Path, expect: str | None = None) -> Kit:
    """Read a kit and check every byte of it.

    Args:
        path: its folder.
        expect: the digest that was committed to, if one was.

    Raises:
        UserError: another digest, a changed byte, a newer version, files outside the folder, shapes that do not fit.
    """
    folder = Path(path)
    raw = _read(folder / INDEX, MOST_INDEX_BYTES)
    try:
        whole = json.loads(raw)
        body, digest = whole["kit"], whole["digest"]
        version, files = body["version"], body["files"]
        same = _canonical(whole) == raw and hashlib.sha256(_canonical(body)).hexdigest() == digest
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"kit {folder}: expected the index of a kit, {INDEX} is none; get the kit again") from error
    if not isinstance(version, int) or version > VERSION:
        raise UserError(f"kit {folder}: expected version {VERSION} or older, got {version!r:.20}; update uapfp_dist")
    if not same:
        raise _changed(folder, INDEX)
    if expect is not None and digest != expect.lower().removeprefix("sha256:"):
        raise UserError(f"kit {folder}: expected the digest {expect:.64}, found {digest}; this is another kit")
    if not isinstance(files, dict) or list(files) != [TENSORS] or not isinstance(files[TENSORS], dict):
        raise UserError(f"kit {folder}: expected the one file {TENSORS}, its index names {files!r:.60}")
    data = _read(folder / TENSORS, MOST_TENSOR_BYTES)
    if hashlib.sha256(data).hexdigest() != files[TENSORS].get("sha256"):
        raise _changed(folder, TENSORS)
    try:
        kit = _unflat(load_tensors(data), digest, body)
        problem = _problem(kit)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        problem = one_line(f"{type(error).__name__}: {error}", 120)
    if problem:
        raise UserError(f"kit {folder}: expected the parts of a kit, they do not fit ({problem}); get the kit again")
    return kit


def with_digest(kit: Kit) -> Kit:
    """The kit with the digest that `save_kit` gives it."""
    return replace(kit, digest=hashlib.sha256(_canonical(_body(kit, _packed(kit)))).hexdigest())


def _packed(kit: Kit) -> bytes:
    # safetensors refuses tensors that share memory
    data: bytes = save_tensors({name: t.detach().cpu().contiguous().clone() for name, t in _flat(kit).items()})
    return data


def _body(kit: Kit, tensors: bytes) -> dict[str, Any]:
    """What the digest is of."""
    return {
        "version": VERSION,
        "files": {TENSORS: {"sha256": hashlib.sha256(tensors).hexdigest(), "bytes": len(tensors)}},
        "n_classes": kit.n_classes,
        "class_names": list(kit.class_names),
        "info": kit.info,
    }


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
    plain = ("images", "victim_labels", "clean", "victim", "natural", "gain", "loss", "agrees")
    tensors = {name: getattr(kit, name) for name in plain}
    tensors |= {f"views/{fmt}": t for fmt, t in kit.views.items()}
    tensors |= {f"similarity/{fmt}": t for fmt, t in kit.similarity.items()}
    return tensors | {f"encoder/{fmt}/{name}": t for fmt, e in kit.encoders.items() for name, t in e.items()}


def _unflat(tensors: dict[str, Tensor], digest: str, body: dict[str, Any]) -> Kit:
    nested: dict[str, dict[str, Any]] = {"views": {}, "similarity": {}, "encoder": {}}
    for name in [name for name in tensors if "/" in name]:
        kind, fmt, *part = name.split("/")
        if part:
            nested[kind].setdefault(fmt, {})[part[0]] = tensors.pop(name)
        else:
            nested[kind][fmt] = tensors.pop(name)
    return Kit(
        digest=digest,
        n_classes=body["n_classes"],
        class_names=tuple(body["class_names"]),
        info=body["info"],
        views=nested["views"],
        similarity=nested["similarity"],
        encoders=nested["encoder"],
        **tensors,
    )


def _problem(kit: Kit) -> str:
    """What does not fit together, or an empty string: a digest says who wrote it, not that it makes sense."""
    q, c, n, m = len(kit.images), kit.n_classes, len(kit.natural), len(kit.info["models"])
    shapes: list[tuple[str, Tensor, tuple[int, ...], torch.dtype]] = [
        ("images", kit.images, (q, *kit.images.shape[1:]), torch.uint8),
        ("victim_labels", kit.victim_labels, (q,), torch.int64),
        ("victim", kit.victim, (q, c), torch.float32),
        ("clean", kit.clean, (len(kit.clean),), torch.int64),
        ("natural", kit.natural, (n,), torch.int64),
        ("gain", kit.gain, (n,), torch.float64),
        ("loss", kit.loss, (n,), torch.float64),
        ("agrees", kit.agrees, (m, n), torch.bool),
    ]
    for fmt, views in kit.views.items():
        encoder = kit.encoders[fmt]
        v, points = views.shape[1:]
        hidden, embedding = encoder["w2"].shape
        shapes += [
            (f"views {fmt}", views, (2, v, points), torch.int64),
            (f"similarity {fmt}", kit.similarity[fmt], (m, v), torch.float64),
            (f"w1 {fmt}", encoder["w1"], (2 * points * c, hidden), torch.float32),
            (f"b1 {fmt}", encoder["b1"], (hidden,), torch.float32),
            (f"w2 {fmt}", encoder["w2"], (hidden, embedding), torch.float32),
            (f"b2 {fmt}", encoder["b2"], (embedding,), torch.float32),
        ]
    if problem := _problem_of_info(kit):
        return problem
    if not (type(c) is int and c == len(kit.class_names) >= 2 and kit.images.dim() == 4 and kit.images.numel() and n):
        return "classes or images"
    if not kit.views.keys() == kit.encoders.keys() == kit.similarity.keys() == kit.info["decided_by"].keys() > set():
        return "formats"
    if not all(re.fullmatch(FORMAT, fmt) for fmt in kit.views):
        return "an unknown format"
    if "hard" not in kit.views:
        return "no scorer for labels"
    for name, tensor, shape, kind in shapes:
        if tuple(tensor.shape) != shape or tensor.dtype != kind:
            return f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        if kind.is_floating_point and not bool(tensor.isfinite().all()):
            return f"{name} not finite"
    indices = [kit.clean, kit.natural, *kit.views.values()]
    if any(t.numel() == 0 or int(t.min()) < 0 or int(t.max()) >= q for t in indices):
        return "an index outside the images"
    return "" if 0 <= int(kit.victim_labels.min()) <= int(kit.victim_labels.max()) < c else "a label that is no class"


def _problem_of_info(kit: Kit) -> str:
    """The same for what is not a tensor and a verdict reads."""
    info = kit.info
    texts = [*kit.class_names, *info["limits"], *(row[key] for row in info["models"] for key in ROW)]
    texts += [decided["why"] for decided in info["decided_by"].values()]
    if not isinstance(info["limits"], list) or not all(isinstance(text, str) for text in texts):
        return "a text that is none"
    if not all(text.isprintable() for text in texts):
        return "a text that cannot be printed"
    if any(row["part"] not in ("calibration", "test") for row in info["models"]):
        return "models that neither calibrate nor test"
    if any(decided["method"] not in ("uap", "weighted_errors") for decided in info["decided_by"].values()):
        return "an unknown method"
    return "" if isinstance(info["alpha"], float) and 0 < info["alpha"] < 1 else "alpha"
