"""How often kits of one preset accuse and catch, each kit enrolled from a seed of its own."""

import json
from collections.abc import Sequence
from pathlib import Path

from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.seeds import make_folder
from uapfp_dist.serialization import to_json
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.enrollment.same_enrollment import check_same_enrollment
from uapfp_dist.verification.judging.accusation_rates import measure_rates
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.reports.rates_over_zoos import rates_text


def measure_kits(
    name: str,
    seeds: Sequence[int],
    out: Path,
    requirements: EnrollConfig,
    max_queries: int | None,
    runtime: RuntimeConfig,
) -> str:
    """Enroll every seed that has no kit yet, count, and write one table of Markdown, which is returned.

    Args:
        name: of the preset.
        seeds: a kit of each.
        out: folder for <preset>-<seed> (kits), <preset>.json and <preset>.md.
        requirements: of the kits.
        max_queries: images by which suspects are judged at most; None: all.
        runtime: storage, workers and so on.

    Raises:
        UserError: a kit of another enrolment; anything wrong with the input.
    """
    config = enroll_preset(name)
    make_folder(out)
    folders = {seed: (out / f"{name}-{seed}").absolute() for seed in seeds}
    for seed, folder in folders.items():
        if folder.exists():
            check_same_enrollment(load_kit(folder), config, requirements, seed, folder)
    for seed, folder in folders.items():
        if not folder.exists():
            run_enrollment(config, name, seed, requirements, runtime, folder)
    kits = [load_kit(folder) for folder in folders.values()]
    rates = [measure_rates(kit, max_queries) for kit in kits]
    text = rates_text(name, kits, rates, requirements.n_calibrate, max_queries)
    (out / f"{name}.md").write_text(text)
    by_wire = [{fmt.wire: to_json(found) for fmt, found in of_kit.items()} for of_kit in rates]
    (out / f"{name}.json").write_text(json.dumps(by_wire))
    return text
