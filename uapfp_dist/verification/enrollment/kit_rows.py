"""What each reference model is for in a kit: training, calibration or test."""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Literal

from uapfp_dist.errors import UserError
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan
from uapfp_dist.verification.enrollment.reference_models import ReferenceModel
from uapfp_dist.verification.kit.info import KitModel
from uapfp_dist.verification.kit.separation import PIRACY


@dataclass(frozen=True)
class KitRow:
    """A model beside the victim."""

    reference: ReferenceModel
    part: Literal["training", "calibration", "test"]

    def described(self) -> KitModel:
        """What the kit says of a model that does not train."""
        assert self.part != "training"
        stolen, spec = self.reference.extraction, self.reference.member.spec
        return KitModel(
            group=self.reference.group,
            part=self.part,
            attack=stolen.attack if stolen else "",
            labels=stolen.labels_name if stolen else "",
            architecture=spec.architecture,
            optimizer=spec.recipe.optimizer,
            model=spec.id,
        )


def kit_rows(plan: EnrollmentPlan, made: Container[str], failures: Sequence[str]) -> list[KitRow]:
    """Of each group's models held out, the first so many calibrate and the others test; stolen ones only test.

    Args:
        plan: of all models.
        made: ids of those that could be made.
        failures: why others could not.

    Raises:
        UserError: too few.
    """
    rows, held_out = [], Counter[str]()
    for model in plan.reference_models:
        if model.member.spec.id not in made:
            continue
        part: Literal["training", "calibration", "test"] = "training"
        if model.part == "held_out":
            held_out[model.group] += 1
            spare = model.group == PIRACY or held_out[model.group] > plan.requirements.n_calibrate
            part = "test" if spare else "calibration"
        rows.append(KitRow(model, part))
    for group in plan.requirements.groups:
        if held_out[group] < plan.requirements.n_calibrate:
            margin = "homologous_margin" if group in ("homologous", "same_data") else "piracy_margin"
            raise UserError(
                f"enroll: expected {plan.requirements.n_calibrate} {group} models to calibrate with, {held_out[group]} "
                f"could be made ({causes(failures)}); raise n_test, which holds spare ones, or the margin of their "
                f"gate, zoo.{margin}",
                argument="n_test",
            )
    for group in (PIRACY, *plan.requirements.groups) if plan.requirements.size == "full" else ():
        if sum(row.reference.group == group and row.part == "training" for row in rows) < 2:
            raise UserError(f"enroll: expected two {group} models to train on, fewer were made ({causes(failures)})")
    return rows


def causes(failures: Sequence[str]) -> str:
    """Why models could not be made, in one line."""
    return "; ".join(dict.fromkeys(failures))[:300] or "no cause is known"
