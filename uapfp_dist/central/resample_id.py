"""Under which id the scores of a resample are stored."""

from collections.abc import Sequence

from uapfp_dist.config.schema import Config
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.evaluation.probe_specs import reference_specs
from uapfp_dist.fingerprints.resamples import Resample
from uapfp_dist.tasks.hashing import JUDGING_VERSION, content_id
from uapfp_dist.tasks.members import Member


def resample_id(plan: Plan, config: Config, members: Sequence[Member], resample: Resample) -> str:
    """All that determines the scores of a resample.

    Args:
        plan: what is evaluated.
        config: its configuration, or one that compares other methods.
        members: the models that responded, in the order of the resample's rows.
        resample: which of them train, calibrate and are tested.
    """
    beside = {
        "references": [spec.id for spec in reference_specs(config, plan.probe)],
        "siblings": [spec.id for spec in (plan.churn, plan.probe_twin) if spec],
    }
    return content_id(
        {
            "probe": plan.probe.id,
            "encoder": config.encoder,
            "formats": [fmt.wire for fmt in config.verdict.formats],
            "draw": resample,
            "models": [member.spec.id for member in members],
            "methods": config.verdict.compared,
            "judging": JUDGING_VERSION,
            **{name: ids for name, ids in beside.items() if ids},
        }
    )
