"""Which images make a fingerprint: K-means on the victim, then neighbours as views (paper Sections 4.2, 4.3)."""

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor

from uapfp_dist.errors import PermanentError, UserError


class SmallClusterError(PermanentError):
    """A cluster has fewer images than there are to be views: known only once the victim is trained."""


def clusters(features: Tensor, n_points: int, seed: int) -> tuple[Tensor, Tensor]:
    """K-means with `n_points` clusters.

    Args:
        features: (N, F) the victim's representation of its training images.

    Returns:
        (N,) cluster of every image, and (n_points,) of each cluster the member nearest to its centre.
    """
    if n_points > len(features):
        raise UserError(
            f"n_points: expected at most the {len(features)} images of D_v, got {n_points}; choose fewer points"
        )
    data = features.numpy().astype(np.float64)
    with threadpool_limits(1):  # the order of a parallel sum must not choose the points
        kmeans = KMeans(n_points, n_init=1, random_state=seed % 2**32).fit(data)
    if (found := len(np.unique(kmeans.labels_))) < n_points:
        raise UserError(
            f"n_points: expected {n_points} clusters of the victim's features of D_v, found {found}: too few images "
            "differ there; choose fewer points",
            argument="n_points",
        )
    distance = ((data - kmeans.cluster_centers_[kmeans.labels_]) ** 2).sum(1)
    order = np.lexsort((distance, kmeans.labels_))
    first = np.searchsorted(kmeans.labels_[order], np.arange(n_points))
    return torch.from_numpy(kmeans.labels_.astype(np.int64)), torch.from_numpy(order[first])


def neighbour_views(outputs: Tensor, centres: Tensor, n_views: int, rng: torch.Generator) -> Tensor:
    """Views by Section 4.3: the neighbours of each cluster's point in the output layer, permuted without replacement.

    Args:
        outputs: (N, C) the victim's outputs on the candidate images.
        centres: (n,) indices of the clusters' points.
        n_views: neighbours per point, the point itself counted.

    Returns:
        (n_views, n) indices; view 0 is `centres`, and no column holds an index twice.
    """
    if n_views > len(outputs):
        raise UserError(f"n_views: expected at most the {len(outputs)} images of D_v, got {n_views}; choose fewer")
    distance = torch.cdist(outputs[centres].double(), outputs.double())
    distance[torch.arange(len(centres)), centres] = -1.0
    nearest = distance.argsort(dim=1, stable=True)[:, :n_views]
    columns = [
        torch.cat([row[:1], row[1:][torch.randperm(n_views - 1, generator=rng)]]) if n_views > 1 else row
        for row in nearest
    ]
    return torch.stack(columns, dim=1)


def cluster_views(cluster: Tensor, centres: Tensor, n_views: int, rng: torch.Generator) -> Tensor:
    """Views by Algorithm 1: of every whole cluster one point a view, at random without replacement.

    Args:
        cluster: (N,) cluster of every image.
        centres: (n,) of each cluster the point of view 0.
        n_views: points taken from each cluster, the centre counted.

    Returns:
        (n_views, n) indices; view 0 is `centres`, and no index stands twice.

    Raises:
        SmallClusterError: a cluster has fewer than `n_views` members.
    """
    smallest = int(torch.bincount(cluster, minlength=len(centres)).min())
    if smallest < n_views:
        raise SmallClusterError(
            f"n_views: expected at most the {smallest} images of the smallest of {len(centres)} clusters (views = "
            f"whole_clusters), got {n_views}; choose fewer views or points, or views = neighbours"
        )
    columns = []
    for i, centre in enumerate(centres):
        others = ((cluster == i) & (torch.arange(len(cluster)) != centre)).nonzero().flatten()
        columns.append(torch.cat([centre[None], others[torch.randperm(len(others), generator=rng)]])[:n_views])
    return torch.stack(columns, dim=1)


def unique_points(views: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) unique values of `views` (V, n) in order of first appearance, and `views` rewritten to point into them.

    So the first v views need the first max + 1 values: with fewer views a suspect is sent a prefix.
    """
    values, inverse = torch.unique(views, return_inverse=True)
    first = torch.full((len(values),), views.numel()).scatter_reduce(
        0, inverse.flatten(), torch.arange(views.numel()), "amin"
    )
    order = first.argsort()
    return values[order], order.argsort()[inverse]


def natural_errors(probabilities: Tensor, labels: Tensor, at_least: int, at_most: int) -> tuple[Tensor, int]:
    """Images the victim gets wrong, most confident error last, topped up with its lowest margins (protocol 3.3).

    Args:
        probabilities: (N, C) the victim's responses on PROBE.
        labels: (N,) the truth.
        at_least: top up to this many with the correct predictions of lowest margin.
        at_most: take no more than this many.

    Returns:
        indices into PROBE (errors first), and how many of them are errors.
    """
    top2 = probabilities.topk(2, dim=1).values
    margin = top2[:, 0] - top2[:, 1]
    by_margin = margin.argsort(stable=True)
    wrong = (probabilities.argmax(1) != labels)[by_margin]
    errors, right = by_margin[wrong][:at_most], by_margin[~wrong]
    return torch.cat([errors, right[: max(0, at_least - len(errors))]]), len(errors)
