"""Whether the parts of a kit fit together: a digest says who wrote it, not that it makes sense."""

import torch
from torch import Tensor

from uapfp_dist.response_format import LABEL
from uapfp_dist.verification.kit.info import KitInfo
from uapfp_dist.verification.kit.kit import Kit


def problem_of(kit: Kit) -> str:
    """What does not fit together, or an empty string."""
    return (
        _problem_of_texts(kit.info, kit.class_names)
        or _problem_of_parts(kit)
        or _problem_of_tensors(kit)
        or _problem_of_indices(kit)
    )


def _problem_of_texts(info: KitInfo, class_names: tuple[str, ...]) -> str:
    """Of what a verdict prints."""
    texts = [*class_names, *info.limits, *(choice.why for choice in info.decided_by.values())]
    for row in info.models:
        texts += [row.group, row.attack, row.labels]
    if not all(isinstance(text, str) for text in texts):
        return "a text that is none"
    return "" if all(text.isprintable() for text in texts) else "a text that cannot be printed"


def _problem_of_parts(kit: Kit) -> str:
    n_classes = kit.n_classes
    if not (type(n_classes) is int and n_classes == len(kit.class_names) >= 2):
        return "classes"
    if not (kit.images.dim() == 4 and kit.images.numel() and len(kit.natural)):
        return "images"
    if not kit.views.keys() == kit.encoders.keys() == kit.similarity.keys() == kit.info.decided_by.keys():
        return "formats"
    if LABEL not in kit.views:
        return "no scorer for labels"
    return "" if 0 < kit.alpha < 1 else "alpha"


def _problem_of_tensors(kit: Kit) -> str:
    q, c, n, m = len(kit.images), kit.n_classes, len(kit.natural), len(kit.info.models)
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
    if (check := kit.input_check) is not None:
        k = len(check.images)
        shapes += [
            ("input_check", check.images, (k,), torch.int64),
            ("input_check_labels", check.labels, (k,), torch.int64),
            ("input_check_agrees", check.agrees, (m, k), torch.bool),
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
    for name, tensor, shape, kind in shapes:
        if tuple(tensor.shape) != shape or tensor.dtype != kind:
            return f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        if kind.is_floating_point and not bool(tensor.isfinite().all()):
            return f"{name} not finite"
    return ""


def _problem_of_indices(kit: Kit) -> str:
    check = kit.input_check
    indices = [kit.clean, kit.natural, *kit.views.values(), *([check.images] if check else [])]
    if any(t.numel() == 0 or int(t.min()) < 0 or int(t.max()) >= len(kit.images) for t in indices):
        return "an index outside the images"
    labels = torch.cat([kit.victim_labels, *([check.labels] if check else [])])
    least, most = int(labels.min()), int(labels.max())
    return "" if 0 <= least <= most < kit.n_classes else "a label that is no class"
