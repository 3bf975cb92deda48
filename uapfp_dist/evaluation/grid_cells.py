"""The cells that the axes of a grid span: an evaluation each, with what is varied on its responses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import attrgetter
from typing import Any

from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.config.validation import check_evaluation
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError
from uapfp_dist.evaluation.encoder_trial import Setting
from uapfp_dist.evaluation.grid_axes import GridAxis, GridOverrides, in_text
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.evaluation.spec_builder import load_pool
from uapfp_dist.fingerprints.blocks import UAP, BlockKey
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.tasks.hashing import Spec, content_id, wire_item
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.scheduler import dependency_order

QUERIED_ROLES = (Role.VICTIM, Role.PIRACY, Role.HOMOLOGOUS, Role.OTHER_VICTIM_PIRACY)
"""Roles that a cell trains its encoder on or measures."""


@dataclass(frozen=True)
class GridCell:
    """One trial: an evaluation, and what is varied on its responses."""

    values: Mapping[str, Any]
    """Axis to value, both as ids have them: the cells of earlier code are the same cells."""
    plan: Plan
    knobs: GridOverrides

    @property
    def name(self) -> str:
        """Such as `n_points=10 top_k=1`."""
        return " ".join(f"{axis}={in_text(value)}" for axis, value in self.values.items())

    @property
    def id(self) -> str:
        """Content address."""
        return content_id({"plan": self.plan.id, "knobs": self.knobs})

    @property
    def members(self) -> list[Member]:
        """Those whose responses are used, the victim first."""
        checkpoints = () if self.knobs.recovery is None else (Role.CHECKPOINT_PIRACY,)
        return [m for m in self.plan.judged if m.role in (*QUERIED_ROLES, *checkpoints)]

    @property
    def specs(self) -> list[Spec]:
        """Everything it reads, and all that goes before."""
        return dependency_order(self.plan.response(member) for member in self.members)

    @property
    def setting(self) -> Setting:
        """The encoder's part of it."""
        config, knobs = self.plan.config, self.knobs
        fraction = knobs.xi if knobs.xi is not None else max(config.uap.xi_fractions)
        fmt = ResponseFormat(knobs.top_k)
        loss = knobs.loss or config.encoder.loss
        return Setting(BlockKey(UAP, fraction), fmt, knobs.n_points, knobs.n_views, loss)

    @property
    def determining(self) -> str:
        """Content address of all that decides its numbers: where it is the same, the same is measured."""
        plan, knobs, own = self.plan, self.knobs, self.plan.config.fingerprint
        verdict, setting = plan.config.verdict, self.setting
        setting = replace(setting, n_points=knobs.n_points or own.n_points, n_views=knobs.n_views or own.n_views)
        return content_id(
            {
                "responses": [(member.role, plan.response(member).id) for member in self.members],
                "setting": setting,
                "encoder": replace(plan.config.encoder, loss=setting.loss),
                "models": (verdict.n_train, verdict.n_calibrate, plan.pool_of(self.members)),
                "resamples": (plan.seed, knobs.architecture, plan.config.studies.n_resamples),
                "recovery": knobs.recovery,
            }
        )


def make_cells(
    axes: Sequence[GridAxis], config: Config, seed: int, dataset: Callable[[DataConfig], Dataset]
) -> list[GridCell]:
    """Every combination of the axes' values, the last axis turning fastest.

    Args:
        axes: at least one.
        config: of the evaluation that is varied.
        seed: of that evaluation.
        dataset: loads images.

    Raises:
        UserError: a combination that cannot work.
    """
    if not axes:
        raise UserError("grid: expected at least one axis, got none; such as n_points=10,20,30", argument="grid")
    cells, plans = [], dict[str, Plan]()
    for values in product(*(axis.values for axis in axes)):
        named = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        varied = config
        for name, value in named.items():
            varied = _override(varied, name.split("."), value) if "." in name else varied
        knobs = GridOverrides(**{name: value for name, value in named.items() if "." not in name})
        key = content_id(varied)
        if key not in plans:
            try:
                check_evaluation(varied)
            except UserError as error:
                raise UserError(str(error), argument="grid") from error
            plans[key] = make_plan(varied, seed, dataset(varied.data), load_pool(varied, dataset))
        wired = dict(_wire(varied, name, value) for name, value in named.items())
        cells.append(GridCell(wired, plans[key], _checked(knobs, varied, dataset(varied.data).n_classes)))
    return cells


def check_axes(axes: Sequence[GridAxis], cells: Sequence[GridCell]) -> None:
    """Refuse an axis of several values along which every cell measures the same: equal rows would read as a finding.

    Args:
        axes: of the grid.
        cells: from `make_cells`.

    Raises:
        UserError: there is one.
    """
    places = product(*(range(len(axis.values)) for axis in axes))
    found = dict(zip(places, (cell.determining for cell in cells), strict=True))
    for i, axis in enumerate(axes):
        if len(axis.values) > 1 and all(found[(*at[:i], 0, *at[i + 1 :])] == id_ for at, id_ in found.items()):
            raise UserError(
                f"grid {axis.name}: expected something that changes what a cell measures, got values "
                f"({', '.join(map(in_text, axis.values))}) by which every cell is the same; leave it out",
                argument="grid",
            )


def _wire(config: Config, name: str, value: Any) -> tuple[str, Any]:
    """An axis and its value under their wire names."""
    *path, field = name.split(".")
    if not path:
        return name, value
    wire, encoded = wire_item(attrgetter(".".join(path))(config), field)
    return ".".join((*path, wire)), tuple(encoded) if isinstance(encoded, list) else encoded


def shared_specs(cells: Sequence[GridCell]) -> list[Spec]:
    """What all cells need, each spec once, in an order in which it could be performed."""
    plans = {(cell.plan.id, cell.knobs.recovery is None): cell for cell in cells}
    return dependency_order(spec for cell in plans.values() for spec in cell.specs)


def _checked(knobs: GridOverrides, config: Config, n_classes: int) -> GridOverrides:
    """Overrides that stored responses allow; all confidences are the same as none left out."""
    own = config.fingerprint
    for name, low, high in (
        ("n_points", 2, own.n_points),
        ("n_views", 2, own.n_views),
        ("top_k", 0, n_classes),
    ):
        value = getattr(knobs, name)
        if value is not None and not low <= value <= high:
            raise UserError(
                f"grid {name}: expected a number from {low} to the evaluation's own {high}, got {value}; "
                "for more run an evaluation that has more",
                argument="grid",
            )
    for name, allowed, where in (
        ("xi", config.uap.xi_fractions, "uap.xi_fractions"),
        ("architecture", config.zoo.architectures, "zoo.architectures"),
        ("recovery", config.studies.recoveries if config.studies.n_trajectories else (), "studies.n_trajectories"),
    ):
        value = getattr(knobs, name)
        if value is not None and value not in allowed:
            listed = ", ".join(map(in_text, allowed)) or "none"
            raise UserError(
                f"grid {name}: expected one of those the evaluation has ({listed}), got {in_text(value)}; see {where}",
                argument="grid",
            )
    return replace(knobs, top_k=None) if knobs.top_k == n_classes else knobs


def _override(config: Any, path: Sequence[str], value: Any) -> Any:
    head, *rest = path
    return replace(config, **{head: _override(getattr(config, head), rest, value) if rest else value})
