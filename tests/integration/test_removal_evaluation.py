"""An evaluation with removal attacks and with siblings of a common start: every model is judged and reported."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from system import run_here, tiny_plan, tiny_with_siblings

from uapfp_dist.config.removal import RemovalConfig
from uapfp_dist.config.schema import VerdictConfig
from uapfp_dist.storage.store import Store


def test_attacked_models_are_judged_and_reported(tmp_path: Path) -> None:
    """Beside the others, each under its role; a victim that shares its start with its siblings is one like any."""
    config = tiny_with_siblings()
    config = replace(
        config,
        removal=RemovalConfig(1, 1, (0.2,), (), (0.05,), 2, n_guessing=2, guessing_epochs=1.0),
        siblings=replace(config.siblings, repeated=0.5),
        verdict=VerdictConfig(0.5, 2, 1, n_resamples=1, methods=("churn",)),
    )
    plan = tiny_plan(config)
    report = run_here(plan, Store(str(tmp_path)))
    body = report.body
    assert body.models is not None
    assert body.models.failed == 0
    judged = Counter(row.role for row in body.verdicts)
    assert judged["relabelled_piracy"] == judged["relabelled_homologous"] == 2
    attacked = {role for role in judged if role.startswith(("relabelled", "modified"))}
    assert attacked <= {"relabelled_piracy", "relabelled_homologous", "modified_piracy", "modified_homologous"}
