"""Whether the parts of a kit fit together."""

import torch
from torch import Tensor

from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.kit import Kit

ROW = ("group", "part", "attack", "labels")
"""What `info` says of each model that calibrates or tests."""


def _problem(kit: Kit) -> str:
    """What does not fit together, or an empty string: a digest says who wrote it, not that it makes sense."""
    q, c, n, m = len(kit.images), kit.n_classes, len(kit.natural), len(kit.info["models"])
    shapes: list[tuple[str, Tensor, tuple[int, ...], torch.dtype]] = [
        ("images", kit.images, (q, *kit.images.shape[1:]), torch.uint8),
        ("victim_labels", kit.victim_labels, (q,), torch.int64),
        ("victim", kit.victim, (q, c), torch.float32),
        ("clean", kit.clean, (len(kit.clean),), torch.int64),
        ("natural", kit.natural, (n,), torch.int64),
        ("gain", kit.log_odds_agree, (n,), torch.float64),
        ("loss", kit.log_odds_disagree, (n,), torch.float64),
        ("agrees", kit.agrees, (m, n), torch.bool),
    ]
    for fmt, views in kit.views.items():
        encoder = kit.encoders[fmt]
        v, points = views.shape[1:]
        hidden, embedding = encoder["w2"].shape
        shapes += [
            (f"views {fmt.wire}", views, (2, v, points), torch.int64),
            (f"similarity {fmt.wire}", kit.similarity[fmt], (m, v), torch.float64),
            (f"w1 {fmt.wire}", encoder["w1"], (2 * points * c, hidden), torch.float32),
            (f"b1 {fmt.wire}", encoder["b1"], (hidden,), torch.float32),
            (f"w2 {fmt.wire}", encoder["w2"], (hidden, embedding), torch.float32),
            (f"b2 {fmt.wire}", encoder["b2"], (embedding,), torch.float32),
        ]
    if problem := _problem_of_info(kit):
        return problem
    if not (type(c) is int and c == len(kit.class_names) >= 2 and kit.images.dim() == 4 and kit.images.numel() and n):
        return "classes or images"
    if not kit.views.keys() == kit.encoders.keys() == kit.similarity.keys() > set():
        return "formats"
    if {fmt.wire for fmt in kit.views} != kit.info["decided_by"].keys():
        return "formats"
    if LABEL not in kit.views:
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
