"""Who may see which image (paper Section 5.1, protocol 2.15)."""

import hashlib
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from uapfp_dist.data.dataset import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.rng import torch_rng
from uapfp_dist.tasks.run_specs import Continued
from uapfp_dist.tasks.specs import DataSpec, Extracted, Imported, OwnerTrained, Trained


@dataclass(frozen=True)
class Splits:
    """Index sets into a data set, each sorted.

    D is what models train on; half of it is D_v. The images outside D are the owner's alone (PROBE), the
    attacker's labelled data (ATTACK), or the test set of all models (EVAL).
    """

    d: Tensor
    d_v: Tensor
    probe: Tensor
    attack: Tensor
    eval: Tensor

    def digests(self) -> dict[str, str]:
        """Name of each index set to the digest of its indices."""
        return {f.name: index_digest(getattr(self, f.name)) for f in fields(self)}


def index_digest(index: Tensor) -> str:
    """16 hexadecimal digits over the indices in their order."""
    return hashlib.sha256(index.numpy().tobytes()).hexdigest()[:16]


def make_splits(dataset: Dataset, spec: DataSpec) -> Splits:
    """Split `dataset` as `spec` says. Every split is random: the order on disk has no influence."""
    rng = torch_rng("splits", spec.seed)
    everything = torch.arange(len(dataset.labels))
    if dataset.n_train is None:
        shuffled = everything[torch.randperm(len(everything), generator=rng)]
        n_d = int(len(everything) * spec.train_share)
        d, outside = shuffled[:n_d], shuffled[n_d:]
    else:
        d = everything[: dataset.n_train]
        outside = everything[dataset.n_train :]
        outside = outside[torch.randperm(len(outside), generator=rng)]
    d_v = d[torch.randperm(len(d), generator=rng)[: len(d) // 2]]
    sizes = [int(len(outside) * share) for share in spec.outside_shares]
    if abs(sum(spec.outside_shares) - 1.0) > 1e-6 or min(sizes) < 1:
        raise UserError(
            f"outside_shares: expected three positive shares that sum to 1 and leave an image to each of PROBE, "
            f"ATTACK and EVAL, got {spec.outside_shares} of {len(outside)} images"
        )
    sizes[2] = len(outside) - sizes[0] - sizes[1]
    probe, attack, evaluation = outside.split(sizes)
    return Splits(*(index.sort().values for index in (d, d_v, probe, attack, evaluation)))


def training_set(splits: Splits, origin: Trained, seed: int) -> Tensor:
    """Indices a model trains on: D_v itself, or a D_homo of equal size drawn from D, sorted.

    `origin.overlap` is the share of D_homo that lies in D_v; None draws uniformly from D.
    """
    if origin.on == "victim_set":
        return splits.d_v
    rng = torch_rng("d_homo", seed)
    size = len(splits.d_v)
    if origin.overlap is None:
        return splits.d[torch.randperm(len(splits.d), generator=rng)[:size]].sort().values
    rest = outside_of(splits.d, splits.d_v)
    n_shared = round(size * origin.overlap)
    if not 0 <= n_shared <= size or size - n_shared > len(rest):
        raise UserError(f"overlap: expected a share between 0 and 1, got {origin.overlap}")
    shared = splits.d_v[torch.randperm(size, generator=rng)[:n_shared]]
    own = rest[torch.randperm(len(rest), generator=rng)[: size - n_shared]]
    return torch.cat([shared, own]).sort().values


def outside_of(whole: Tensor, part: Tensor) -> Tensor:
    """The indices of `whole` that are not in `part`: an attacker's pool is outside the victim's training set."""
    return whole[~torch.isin(whole, part)]


def attack_pool(splits: Splits, origin: Extracted, seed: int = 0) -> Tensor:
    """The natural images an attacker may send: those of D that its victim was not trained on.

    With an overlap, so large a share of the pool is taken from the victim's own images, in place of as many others.
    Where the victim was extracted itself, its own images are those of the trained model at the root of all thefts.

    Raises:
        UserError: a modified model as a victim, at any depth.
    """
    assert origin.pool is None, "an attacker who has images of another data set"
    victim = origin.victim
    while isinstance(victim.origin, Extracted):
        victim = victim.origin.victim
    if not isinstance(victim.origin, Trained | Imported | OwnerTrained | Continued):
        raise UserError("extraction: expected a victim trained on labels or extracted from one, got a modified one")
    trained = victim.origin if isinstance(victim.origin, Trained) else Trained("victim_set")
    own = training_set(splits, trained, victim.seed)
    outside = outside_of(splits.d, own)
    if origin.overlap == 0:
        return outside
    rng = torch_rng("overlap", seed)
    n_own = min(round(len(outside) * origin.overlap), len(own))
    kept = outside[torch.randperm(len(outside), generator=rng)[: len(outside) - n_own]]
    return torch.cat([kept, own[torch.randperm(len(own), generator=rng)[:n_own]]]).sort().values


def drawn_from(n_images: int, budget: int, seed: int) -> Tensor:
    """(at most `budget`,) sorted indices into another data set of `n_images`: all that its attacker will ever send."""
    return torch.randperm(n_images, generator=torch_rng("attack pool", seed))[:budget].sort().values
