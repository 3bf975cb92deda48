"""Where tasks are performed: a store, the data, a device."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from uapfp_dist.data import Dataset, Splits, load, make_splits
from uapfp_dist.data.splits import outside_of
from uapfp_dist.errors import UserError
from uapfp_dist.execution.churn_artifacts import read_churn
from uapfp_dist.execution.pool_artifacts import read_pool, read_sibling_points
from uapfp_dist.execution.probe_artifacts import read_probe
from uapfp_dist.fingerprints.blocks import BlockKey
from uapfp_dist.fingerprints.churn import ChurnPoints
from uapfp_dist.fingerprints.pool import Pool
from uapfp_dist.fingerprints.probe_data import Probe
from uapfp_dist.fingerprints.sibling_points import SiblingPoints
from uapfp_dist.models import Net, build
from uapfp_dist.models.custom import CustomNet, factory_digest, is_import_path
from uapfp_dist.modifications import int8_structure
from uapfp_dist.rng import seeded
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.churn_specs import ChurnSpec
from uapfp_dist.tasks.modification_specs import Int8
from uapfp_dist.tasks.pool_specs import PoolSpec, SiblingPointsSpec
from uapfp_dist.tasks.reference_specs import ReferenceSpec
from uapfp_dist.tasks.specs import AttackPool, DataSpec, ModelSpec, ProbeSpec, ProbeTwinSpec

OWNER_SECONDS = 80_000.0
"""Of an owner's training function: somewhat less than the day after which a worker counts as hung, so that the function
is named."""


class TaskContext:
    """Where specs are performed: a store, the data, a device. Caches the data set and recent nets.

    Args:
        store: artifacts.
        data_root: where the images lie, for data sets that need it.
        device: where tensors live.
        dataset: images in memory; None: they are loaded by name.
        owner_seconds: after which an owner's training function counts as hung.
    """

    def __init__(
        self,
        store: Store,
        data_root: Path | None,
        device: torch.device,
        dataset: Dataset | None = None,
        owner_seconds: float = OWNER_SECONDS,
    ) -> None:
        self.store = store
        self.data_root = data_root
        self.device = device
        self.owner_seconds = owner_seconds
        self._dataset = dataset
        self.net = lru_cache(maxsize=8)(self._net)
        self.probe = lru_cache(maxsize=3)(self._probe)
        self.churn = lru_cache(maxsize=1)(self._churn)
        self.pool = lru_cache(maxsize=1)(self._pool)
        self.sibling_points = lru_cache(maxsize=1)(self._sibling_points)
        self.data = lru_cache(maxsize=2)(self._data)
        self.attack_pool = lru_cache(maxsize=1)(self._attack_pool)

    def _data(self, spec: DataSpec) -> tuple[Dataset, Splits]:
        dataset = self._dataset or load(spec.name, self.data_root, spec.n_classes, spec.size)
        self._check_digest(spec, dataset)
        splits = make_splits(dataset, spec)
        if spec.victim_set is None:
            return dataset, splits
        return dataset, around(splits, self.store.get("index", spec.victim_set).tensors["index"])

    def _attack_pool(self, spec: AttackPool) -> Dataset:
        dataset = load(spec.name, self.data_root)
        self._check_digest(spec, dataset)
        return dataset

    def _check_digest(self, spec: DataSpec | AttackPool, dataset: Dataset) -> None:
        if dataset.digest != spec.digest:
            raise UserError(
                f"data set {spec.name}: expected the images with digest {spec.digest}, found {dataset.digest} in "
                f"{self.data_root}; give every node the same data"
            )

    def _net(self, spec: ModelSpec) -> Net:
        net = self.empty(spec)
        net.load_state_dict(self.store.get(*spec.artifact).tensors)
        return net.eval()

    def empty(self, spec: ModelSpec, seed: int = 0) -> Net:
        """A net into which the weights of `spec` fit, with the random weights of `seed`."""
        dataset, _ = self.data(spec.data)
        if is_import_path(spec.architecture):
            if spec.source and factory_digest(spec.architecture) != spec.source:
                raise UserError(
                    f"architecture {spec.architecture}: expected the file that the enrolment began with, this one "
                    "differs; give every node the same, or enrol again",
                    argument="architecture",
                )
            with seeded(seed, torch.device("cpu")):
                return CustomNet(spec.architecture, dataset.shape, dataset.n_classes).to(self.device)
        net = build(spec.architecture, dataset.shape, dataset.n_classes, spec.width, seed, self.device)
        return int8_structure(net) if spec.modifications and isinstance(spec.modifications[-1], Int8) else net

    def _probe(self, spec: ProbeSpec | ProbeTwinSpec | ReferenceSpec) -> Probe:
        return read_probe(self.store.get(*spec.artifact))

    def _pool(self, spec: PoolSpec) -> Pool:
        return read_pool(self.store.get(*spec.artifact))

    def _sibling_points(self, spec: SiblingPointsSpec) -> SiblingPoints:
        return read_sibling_points(self.store.get(*spec.artifact))

    def _churn(self, spec: ChurnSpec) -> dict[BlockKey, ChurnPoints]:
        return read_churn(self.store.get(*spec.artifact))


def around(splits: Splits, victim_set: Tensor) -> Splits:
    """The same cuts with D_v as the owner names it: it joins D, and PROBE, ATTACK and EVAL are without it."""
    others = {name: outside_of(getattr(splits, name), victim_set) for name in ("probe", "attack", "eval")}
    return replace(splits, d=torch.cat([splits.d, victim_set]).unique(), d_v=victim_set.sort().values, **others)
