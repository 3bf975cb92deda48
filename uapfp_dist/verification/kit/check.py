"""Whether the parts of a kit fit together: a digest says who wrote it, not that it makes sense."""

from collections.abc import Iterator

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
        or _problem_of_churn(kit)
        or _problem_of_exact(kit)
        or _problem_of_files(kit)
    )


def _problem_of_texts(info: KitInfo, class_names: tuple[str, ...]) -> str:
    """Of what a verdict prints."""
    texts = [*class_names, *info.limits, *(choice.why for choice in info.decided_by.values())]
    for row in info.models:
        texts += [row.group, row.attack, row.labels]
    for rates in (info.power or {}, info.false_accusations or {}):
        texts += [kind for by_method in rates.values() for found in by_method.values() for kind in found]
    for rate in info.churn.rates if info.churn else ():
        texts += [*rate.power, *rate.false_accusations]
    if not all(isinstance(text, str) for text in texts):
        return "a text that is none"
    return "" if all(text.isprintable() for text in texts) else "a text that cannot be printed"


def _problem_of_parts(kit: Kit) -> str:
    n_classes = kit.n_classes
    if not (type(n_classes) is int and n_classes == len(kit.class_names) >= 2):
        return "classes"
    light = kit.churn is not None and not kit.views
    if not (kit.images.dim() == 4 and kit.images.numel() and bool(len(kit.natural)) != light):
        return "images"
    if not kit.views.keys() == kit.encoders.keys() == kit.similarity.keys():
        return "formats"
    if not light and kit.views.keys() != kit.info.decided_by.keys():
        return "formats"
    if LABEL not in kit.info.decided_by:
        return "no scorer for labels"
    if (problem := _problem_of_methods(kit)) or (kit.churn is None) != (kit.info.churn is None):
        return problem or "churn"
    return "" if 0 < kit.alpha < 1 else "alpha"


def _problem_of_methods(kit: Kit) -> str:
    """By which methods such a kit may decide."""
    if kit.churn is None:
        known = {"uap", "weighted_errors"}
    elif kit.views:
        known = {"weighted_churn"}
    else:
        known = {"churn"}
    chosen = {choice.method for choice in kit.info.decided_by.values()}
    return "" if chosen <= known and (kit.churn is None or kit.input_check is not None) else "the method that decides"


def _problem_of_churn(kit: Kit) -> str:
    """Of what passed all else: whether the points are what the kit says of them."""
    if (churn := kit.churn) is None or (said := kit.info.churn) is None:
        return ""
    n_siblings = churn.committee.shape[2]
    if not 1 <= n_siblings == said.siblings:
        return "siblings"
    for row, n in enumerate(churn.budgets.tolist()):
        if bool(churn.weights[row, :, n:].any()):
            return "weights of churn points that are not sent"
    if bool((churn.committee == kit.victim_labels[churn.points][..., None]).all(2).any()):
        return "a churn point at which no sibling disagrees with the victim"
    budgets = churn.budgets.tolist()
    if any(not 0 <= rate.point_set < churn.n_sets or rate.n_points not in budgets for rate in said.rates):
        return "rates of a set that is none"
    return ""


def _problem_of_exact(kit: Kit) -> str:
    """Of the exact test, whose every number decides."""
    if (exact := kit.exact) is None or (said := kit.info.exact) is None:
        return "" if kit.exact is None and kit.info.exact is None else "the exact test"
    if kit.churn is None or kit.churn.n_sets != 1 or not 1 <= said.siblings == len(exact.index) - 1:
        return "the exact test"
    if len(said.weights_sha256) != said.siblings or said.images != len(exact.images):
        return "what it says of the exact test"
    if not bool((exact.scale > 0).all()):
        return "the scale of the exact test"
    return "" if 0 <= int(exact.labels.min()) <= int(exact.labels.max()) < kit.n_classes else "a label that is no class"


def _problem_of_files(kit: Kit) -> str:
    """Of its JPEG files, each of which stands for an image."""
    if (jpeg := kit.jpeg) is None:
        return "" if kit.info.jpeg_quality is None else "JPEG files"
    sizes = jpeg.ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    whole = bool((sizes > 0).all()) and int(jpeg.ends[-1]) == len(jpeg.data)
    return "" if whole and kit.info.jpeg_quality is not None else "JPEG files"


def _problem_of_tensors(kit: Kit) -> str:
    for name, tensor, shape, kind in _expected(kit):
        if tuple(tensor.shape) != shape or tensor.dtype != kind:
            return f"{name} {tuple(tensor.shape)} {tensor.dtype}"
        if kind.is_floating_point and not bool(tensor.isfinite().all()):
            return f"{name} not finite"
    return ""


def _expected(kit: Kit) -> Iterator[tuple[str, Tensor, tuple[int, ...], torch.dtype]]:
    """(name, tensor, its shape, its type) of all that a kit holds; what stands once gives the sizes of the rest."""
    q, c, n, m = len(kit.images), kit.n_classes, len(kit.natural), len(kit.info.models)
    yield "images", kit.images, (q, *kit.images.shape[1:]), torch.uint8
    yield "victim_labels", kit.victim_labels, (q,), torch.int64
    yield "victim", kit.victim, (q, c), torch.float32
    yield "clean", kit.clean, (len(kit.clean),), torch.int64
    yield "natural", kit.natural, (n,), torch.int64
    yield "gain", kit.log_odds_agree, (n,), torch.float64
    yield "loss", kit.log_odds_disagree, (n,), torch.float64
    yield "agrees", kit.agrees, (m, n), torch.bool
    if (check := kit.input_check) is not None:
        k = len(check.images)
        yield "input_check", check.images, (k,), torch.int64
        yield "input_check_labels", check.labels, (k,), torch.int64
        yield "input_check_agrees", check.agrees, (m, k), torch.bool
    if (churn := kit.churn) is not None:
        (s, k), b = churn.points.shape, len(churn.budgets)
        yield "churn_points", churn.points, (s, k), torch.int64
        yield "churn_budgets", churn.budgets, (b,), torch.int64
        yield "churn_weights", churn.weights, (b, s, k), torch.float64
        yield "churn_intercepts", churn.intercepts, (b, s), torch.float64
        yield "churn_committee", churn.committee, (s, k, churn.committee.shape[2]), torch.int64
        yield "churn_agrees", churn.agrees, (m, s, k), torch.bool
    if (exact := kit.exact) is not None:
        players = tuple(exact.index.shape)
        yield "exact_index", exact.index, players, torch.int64
        yield "exact_labels", exact.labels, players, torch.int64
        yield "exact_weights", exact.weights, players, torch.float64
        yield "exact_centre", exact.centre, players[:1], torch.float64
        yield "exact_scale", exact.scale, players[:1], torch.float64
    if (jpeg := kit.jpeg) is not None:
        yield "jpeg_data", jpeg.data, (len(jpeg.data),), torch.uint8
        yield "jpeg_ends", jpeg.ends, (q,), torch.int64
    for fmt, views in kit.views.items():
        encoder = kit.encoders[fmt]
        v, points = views.shape[1:]
        hidden, embedding = encoder["w2"].shape
        yield f"views {fmt.wire}", views, (2, v, points), torch.int64
        yield f"similarity {fmt.wire}", kit.similarity[fmt], (m, v), torch.float64
        yield f"w1 {fmt.wire}", encoder["w1"], (2 * points * c, hidden), torch.float32
        yield f"b1 {fmt.wire}", encoder["b1"], (hidden,), torch.float32
        yield f"w2 {fmt.wire}", encoder["w2"], (hidden, embedding), torch.float32
        yield f"b2 {fmt.wire}", encoder["b2"], (embedding,), torch.float32


def _problem_of_indices(kit: Kit) -> str:
    check, churn = kit.input_check, kit.churn
    indices = [kit.clean, *kit.views.values(), *([check.images] if check else [])]
    indices += [kit.natural] if len(kit.natural) else []
    indices += [kit.exact.index] if kit.exact else []
    if churn:
        indices.append(churn.points)
        budgets = churn.budgets.tolist()
        if not (
            budgets and budgets == sorted(set(budgets)) and budgets[0] > 0 and budgets[-1] == churn.points.shape[1]
        ):
            return "numbers of churn points"
        if churn.points.numel() != len(churn.points.unique()):
            return "sets of churn points that overlap"
    if any(t.numel() == 0 or int(t.min()) < 0 or int(t.max()) >= len(kit.images) for t in indices):
        return "an index outside the images"
    labels = torch.cat(
        [kit.victim_labels, *([check.labels] if check else []), *([churn.committee.flatten()] if churn else [])]
    )
    least, most = int(labels.min()), int(labels.max())
    return "" if 0 <= least <= most < kit.n_classes else "a label that is no class"
