"""Grids of an ablation: axes `name=value,value`, typed and checked, and the cells that they span.

A plain name (`n_points`, `top_k`, ...) is a field of `GridOverrides` and needs nothing but stored responses. A dotted
name (`encoder.tau`, `zoo.overlap`, ...) is a field of the configuration; where it changes models or the probe, those
are made first, once for all cells that share them.
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

from uapfp_dist.config.schema import Config, DataConfig
from uapfp_dist.config.validation import check
from uapfp_dist.data import Dataset
from uapfp_dist.errors import UserError, unknown_name
from uapfp_dist.evaluation.encoder_trial import Setting
from uapfp_dist.evaluation.plan import Plan, make_plan
from uapfp_dist.fingerprints.blocks import UAP, BlockKey
from uapfp_dist.response_format import KNOWN, ResponseFormat
from uapfp_dist.tasks.hashing import Spec, content_id, has_wire_names, wire_item, wire_names
from uapfp_dist.tasks.members import Member, Role
from uapfp_dist.tasks.scheduler import dependency_order

QUERIED_ROLES = (Role.VICTIM, Role.PIRACY, Role.HOMOLOGOUS, Role.OTHER_VICTIM_PIRACY)
"""Roles that a cell trains its encoder on or measures."""
JOIN = "+"
"""Between the values of a field that holds several: zoo.architectures=B+C,D+E."""


@wire_names("Knobs", "n_points top_k n_views xi loss architecture recovery")
@dataclass(frozen=True)
class GridOverrides:
    """What can be varied on stored responses; None leaves what the evaluation has."""

    n_points: int | None = None
    """Points per fingerprint: the first so many clusters."""
    top_k: int | None = None
    """Confidences that a suspect returns (0: the bare label); None: all, as with the number of classes."""
    n_views: int | None = None
    """Views the encoder learns from."""
    xi: float | None = None
    """Norm of the UAPs, one of uap.xi_fractions; None: the largest of them."""
    loss: Literal["supcon", "cross_entropy", "autoencoder"] | None = None
    """Of the encoder."""
    architecture: str | None = None
    """Architecture of all models that train the encoder; None: all architectures."""
    recovery: float | None = None
    """Detect checkpoints at this recovery rate, one of studies.recoveries; None: the test piracy."""


@dataclass(frozen=True)
class GridAxis:
    """One thing that is varied."""

    name: str
    values: tuple[Any, ...]


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


def parse_grid(texts: Sequence[str]) -> tuple[GridAxis, ...]:
    """Axes from `name=value,value`.

    Raises:
        UserError: no such name (the known ones are listed), or a value of another type.
    """
    axes: dict[str, GridAxis] = {}
    for text in texts:
        name, _, values = text.replace(" ", "").partition("=")
        name = name.replace("-", "_")
        if not values.strip(","):
            raise UserError(f"grid {text!r}: expected name=value,value, such as n_points=10,20,30")
        if name in axes:
            raise UserError(f"grid {name}: expected one list of values, got two; join them by commas")
        typed = [_typed(name, value) for value in values.split(",") if value]
        axes[name] = GridAxis(name, tuple(dict.fromkeys(typed)))
    return tuple(axes.values())


def figure_6(config: Config, n_classes: int) -> tuple[GridAxis, ...]:
    """Figure 6 left as a grid: numbers of points by numbers of confidences, the evaluation's own included."""
    own, studies = config.fingerprint.n_points, config.studies
    return (
        GridAxis("n_points", tuple(sorted({n for n in studies.n_points if n < own} | {own}))),
        GridAxis("top_k", tuple(sorted({k for k in studies.top_k if k < n_classes} | {0, n_classes}))),
    )


def make_cells(
    axes: Sequence[GridAxis], config: Config, seed: int, dataset: Callable[[DataConfig], Dataset]
) -> list[GridCell]:
    """Every combination of the axes' values, the last axis turning fastest.

    Args:
        axes: at least one.
        config: of the evaluation that is varied.
        seed: of that evaluation.
        dataset: loads the images of a configuration.

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
                check(varied)
            except UserError as error:
                raise UserError(str(error), argument="grid") from error
            plans[key] = make_plan(varied, seed, dataset(varied.data))
        wired = dict(_wire(varied, name, value) for name, value in named.items())
        cells.append(GridCell(wired, plans[key], _checked(knobs, varied, dataset(varied.data).n_classes)))
    return cells


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


def in_text(value: Any) -> str:
    """A value as it is written in an axis."""
    if isinstance(value, tuple):
        return JOIN.join(map(in_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


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
                "for more run an evaluation that has more"
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
                f"grid {name}: expected one of those the evaluation has ({listed}), got {in_text(value)}; see {where}"
            )
    return replace(knobs, top_k=None) if knobs.top_k == n_classes else knobs


def _override(config: Any, path: Sequence[str], value: Any) -> Any:
    head, *rest = path
    return replace(config, **{head: _override(getattr(config, head), rest, value) if rest else value})


def _typed(name: str, text: str) -> Any:
    """`text` as a value of the field `name`, in the field's type."""
    kind = _type_of(name)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            return tyro.cli(kind, args=["None" if part == "none" else part for part in text.split(JOIN)])
    except SystemExit:
        raise UserError(f"grid {name}: expected {_expected(kind)}, got {text!r}", argument="grid") from None


def _expected(kind: Any) -> str:
    """A type for a person."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if kind is ResponseFormat:
        return KNOWN
    if get_origin(kind) is tuple:
        return f"{_expected(get_args(kind)[0])}, several joined by {JOIN}"
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _type_of(name: str) -> Any:
    """The type of an override or of a field of the configuration."""
    kind: Any = Config if "." in name else GridOverrides
    prefix = ""
    for part in name.split("."):
        hints = get_type_hints(kind, include_extras=True)
        if part not in hints:
            raise _unknown(name, (f"{prefix}{field}" for field in hints))
        kind, prefix = hints[part], f"{prefix}{part}."
        if not has_wire_names(kind):
            break
    if has_wire_names(kind) or prefix != f"{name}.":
        raise _unknown(
            name, [f"{prefix}{field.name}" for field in fields(kind)] if has_wire_names(kind) else [prefix[:-1]]
        )
    return kind


def _unknown(name: str, names: Iterable[str]) -> UserError:
    hint = "" if "." in name else "; or a field of the configuration, such as encoder.tau or zoo.overlap"
    return UserError(f"{unknown_name('name in a grid', name, names)}{hint}")
