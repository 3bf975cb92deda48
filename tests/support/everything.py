"""The tiny evaluation with every modification and study."""

from dataclasses import dataclass, replace
from pathlib import Path

from system import tiny

from uapfp_dist.config.schema import Config, ModificationConfig, StudyConfig
from uapfp_dist.evaluation.plan import Plan
from uapfp_dist.reporting.report import Report
from uapfp_dist.response_format import LABEL, PROBABILITIES, ResponseFormat
from uapfp_dist.storage.store import Store
from uapfp_dist.tasks.method_configs import SubspaceConfig


def everything() -> Config:
    """The tiny evaluation with every modification and study, at the smallest size that has one of each."""
    base = tiny()
    return replace(
        base,
        zoo=replace(base.zoo, n_piracy=4, n_homologous=5),
        modifications=ModificationConfig(
            n_piracy=4,
            n_homologous=4,
            victim=True,
            fine_tune_epochs=1.0,
            prune=(0.4,),
            n_adversarial=4,
            adversarial_iterations=2,
            adversarial_every=1,
        ),
        studies=StudyConfig(
            n_subspace=2,
            subspace=SubspaceConfig(n_uaps=6, n_images=50, passes=2),
            n_trajectories=1,
            recoveries=(0.3, 0.5),
            n_overlap=1,
            overlaps=(0.0, 1.0),
            sweeps=True,
            n_points=(3, 6),
            top_k=(1, 3),
            n_views=(2,),
            n_resamples=2,
            whole_clusters=True,
        ),
        verdict=replace(
            base.verdict, formats=(PROBABILITIES, ResponseFormat(3), LABEL), train_pool=3, decided_by="uap_ensemble"
        ),
    )


@dataclass(frozen=True)
class Shown:
    """A finished evaluation."""

    plan: Plan
    report: Report
    folder: Path
    store: Store
