"""What a kit says of the victim's siblings. Its sentences are part of the kit's digest."""

from uapfp_dist.tasks.run_specs import Continued
from uapfp_dist.tasks.specs import AbsoluteGate, Imported, ModelSpec, OwnerTrained
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan

EXCHANGEABLE = (
    "A sibling could have been the victim: that no longer holds where the victim was chosen as the best of several "
    "runs or gated otherwise than its siblings, where others know the seeds of the siblings, where siblings were "
    "trained with another version of the library, or where the victim is served or quantised differently from them."
)


def sibling_limits(plan: EnrollmentPlan) -> list[str]:
    """What the siblings were, and what they no longer show when something differs, in plain sentences."""
    if plan.churn is None or not plan.siblings:
        return ["No siblings of the victim: weighted_churn and the group sibling are left out."]
    siblings = plan.siblings
    gate = siblings[0].gate
    least = f"{gate.accuracy:g}" if isinstance(gate, AbsoluteGate) else "none"
    n_outside = sum(model.group == "sibling" for model in plan.reference_models)
    outside = f" (from each of {n_outside} more a model was stolen)" if n_outside else ""
    return [
        f"The victim was compared with {len(plan.churn.siblings)} siblings{outside}, {_making(siblings[0])}, from "
        f"{_seeds(plan)}; a gate of {least} accuracy binds them and the victim alike.",
        EXCHANGEABLE,
    ]


def _making(sibling: ModelSpec) -> str:
    match sibling.origin:
        case OwnerTrained(function=function):
            return f"trained on the victim's images by the owner's function {function}"
        case Imported():
            return "which the owner trained and says were trained as the victim was, on its images"
        case Continued(description=start):
            return f"trained on the victim's images {start}, as the victim itself was"
    return "trained on the victim's images by its recipe (architecture, optimizer, batch size, steps)"


def _seeds(plan: EnrollmentPlan) -> str:
    if isinstance(plan.siblings[0].origin, Imported):
        return "seeds of the owner's"
    return (
        "private seeds"
        if plan.seed_is_private
        else f"the seed {plan.seed}, which was given: whoever reads it can make them"
    )
