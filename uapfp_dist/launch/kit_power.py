"""How often kits of one preset accuse and catch, each kit enrolled from a seed of its own."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from uapfp_dist.config.precision import with_precision
from uapfp_dist.config.runtime import RuntimeConfig, resolve
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.launch.images import load_images
from uapfp_dist.launch.seeds import check_seeds, make_folder
from uapfp_dist.serialization import to_json
from uapfp_dist.storage.store import Store
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.exact_power import exact_power
from uapfp_dist.verification.enrollment.plan import EnrollmentPlan, plan_enrollment
from uapfp_dist.verification.enrollment.same_enrollment import check_same_enrollment
from uapfp_dist.verification.judging.accusation_rates import measure_rates
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.reports.exact_rates import exact_power_text
from uapfp_dist.verification.reports.rates_over_zoos import rates_text


def measure_kits(
    name: str,
    config: Config,
    seeds: Sequence[int],
    out: Path,
    requirements: EnrollConfig,
    max_queries: int | None,
    runtime: RuntimeConfig,
) -> str:
    """Enroll every seed that has no kit yet, count, and write one table of Markdown, which is returned.

    Args:
        name: of the preset.
        config: data, zoo and so on, as in an enrolment.
        seeds: a kit of each.
        out: folder for <preset>-<seed> (kits), <preset>.json and <preset>.md, of exact tests <preset>-exact.json, .md.
        requirements: of the kits.
        max_queries: images by which suspects are judged at most; None: all.
        runtime: storage, workers and so on.

    Raises:
        UserError: no seed, or one twice; a kit of another enrolment or of other images; anything wrong with the input.
    """
    check_seeds(seeds)
    make_folder(out)
    config = with_precision(config, runtime.gpus_per_worker)
    folders = {seed: (out / f"{name}-{seed}").absolute() for seed in seeds}
    dataset = load_images(config.data, resolve(runtime))
    for seed, folder in folders.items():
        if folder.exists():
            check_same_enrollment(load_kit(folder), config, requirements, seed, dataset, folder)
    for seed, folder in folders.items():
        if not folder.exists():
            run_enrollment(config, name, seed, requirements, runtime, folder)
    kits = [load_kit(folder) for folder in folders.values()]
    rates = [measure_rates(kit, max_queries) for kit in kits]
    text = rates_text(name, kits, rates, requirements.n_calibrate, max_queries)
    (out / f"{name}.md").write_text(text)
    by_wire = [{fmt.wire: to_json(found) for fmt, found in of_kit.items()} for of_kit in rates]
    (out / f"{name}.json").write_text(json.dumps(by_wire))
    if requirements.exact == "none":
        return text
    plans = [plan_enrollment(config, requirements, seed, dataset) for seed in seeds]
    return text + _exact(name, plans, out, requirements, Store(resolve(runtime).storage))


def _exact(name: str, plans: Sequence[EnrollmentPlan], out: Path, requirements: EnrollConfig, store: Store) -> str:
    """What the exact sibling tests of these kits catch, from the labels in the store; written beside the rest."""
    torch.set_num_threads(1)
    found = [one for plan in plans for one in exact_power(plan, store)]
    text = "\n".join(exact_power_text(name, found, requirements.alpha, requirements.max_suspects)) + "\n"
    (out / f"{name}-exact.md").write_text(text)
    (out / f"{name}-exact.json").write_text(json.dumps(to_json(found)))
    return f"\n{text}"
