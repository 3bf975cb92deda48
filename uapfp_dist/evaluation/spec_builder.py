"""From a configuration to the specs of single models of its zoo."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice, product

from uapfp_dist.attacks import ATTACKS, labels_followed
from uapfp_dist.attacks.knockoff import Knockoff
from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.models.training import BATCH_SIZES
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.tasks.specs import AttackPool, DataSpec, Extracted, Gate, ModelSpec, Recipe, Trained


def load_pool(config: Config, load: Callable[[DataConfig], Dataset]) -> Dataset | None:
    """The other data set from which knockoff draws its images; None: it sends images of the victim's kind.

    Args:
        config: names it.
        load: the images of a data set.
    """
    name = config.extraction.knockoff_pool
    return None if name is None else load(DataConfig(name=name))


def pool_spec(config: Config, pool: Dataset | None) -> AttackPool | None:
    """That data set as specs name it.

    Raises:
        UserError: the configuration names one, and `pool` is none, or another.
    """
    name = config.extraction.knockoff_pool
    if name is None:
        return None
    if pool is None or pool.name != name:
        got = "none" if pool is None else f"those of {pool.name}"
        raise UserError(
            f"extraction.knockoff_pool: expected the images of {name} beside the configuration, got {got}; load that "
            "data set, or leave the pool out",
            argument="extraction.knockoff_pool",
        )
    return AttackPool(name, pool.digest)


@dataclass(frozen=True)
class SpecBuilder:
    """Makes model specs; what Table 1 leaves open is random, by the spec's seed."""

    config: Config
    data: DataSpec
    n_own: int
    """Images of D_v: epochs and budgets are multiples of it."""
    pool: AttackPool | None = None
    """Where knockoff's images are drawn from; None: D outside the victim's own."""

    def model(
        self,
        origin: Trained | Extracted,
        architecture: str,
        optimizer: str | None,
        seed: int,
        gate: Gate | None,
    ) -> ModelSpec:
        """A model of the zoo; the optimizer None is drawn among the zoo's."""
        zoo = self.config.zoo
        rng = numpy_rng("recipe", seed)
        optimizer = optimizer or str(rng.choice(zoo.optimizers))
        batch_size = int(rng.choice(BATCH_SIZES))
        precision = self.config.precision
        assert precision != "auto"
        samples = math.ceil(zoo.epochs * self.n_own)
        recipe = Recipe(optimizer, batch_size, samples, zoo.augment, precision, zoo.rate_scale)
        return ModelSpec(self.data, architecture, zoo.width, recipe, origin, seed, gate)

    def extraction(self, victim: ModelSpec, attack: str, labels: ResponseFormat) -> Extracted:
        """A theft from `victim`."""
        extraction = self.config.extraction
        budget = math.ceil(extraction.budget * self.n_own)
        natural = ATTACKS[attack].natural_share(extraction.natural_share)
        followed = labels_followed(attack, extraction.jacobian_labels)
        sizes = budget, extraction.rounds, natural, extraction.overlap
        pool = self.pool if attack == Knockoff.name else None
        return Extracted(victim, attack, labels, *sizes, jacobian_labels=followed, pool=pool)

    def cells(self, n: int, first: int = 0) -> Iterator[tuple[int, str, str]]:
        """(number, architecture, optimizer), architectures turning fastest, for `n` models from number `first` on."""
        grid = [(a, o) for o, a in product(self.config.zoo.optimizers, self.config.zoo.architectures)]
        return ((i, a, o) for i, (a, o) in enumerate(islice(cycle(grid), first, first + n), first))
