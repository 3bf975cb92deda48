"""How often does a kit accuse models that are not stolen, and how often catch stolen ones? Over independent zoos.

    python jobs/false_accusations.py --preset digits --seeds 0 1 2 3 4 5 6 7 8 9 --out false_accusations

Every seed is an enrolment of its own: its own split of the data, victim, stolen models, negatives and calibration.
Suspects are the models that neither trained nor calibrated the kit, each judged alone. Models of one zoo are not
independent: the intervals resample zoos. Finished seeds are not run again; a kit of another enrolment in their place is
refused. For Fashion-MNIST with 100 images:

    python jobs/false_accusations.py --preset fashion_mnist-small --data-root DATA --seeds 0 --max-queries 100
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from uapfp_dist.command import main
from uapfp_dist.config.renamed import current_arguments
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.launch.enrollment import run_enrollment
from uapfp_dist.response_format import ResponseFormat
from uapfp_dist.rng import numpy_rng
from uapfp_dist.serialization import Json, to_json
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset, recorded_configuration, with_model_counts
from uapfp_dist.verification.judging.accusation_rates import AccusationRates, FormatRates, measure_rates
from uapfp_dist.verification.judging.verdict import KIT_METHODS
from uapfp_dist.verification.kit.info import Configuration, Rates
from uapfp_dist.verification.kit.io import load_kit
from uapfp_dist.verification.kit.kit import Kit

N_BOOT = 2000

KitRates = dict[ResponseFormat, FormatRates]
"""What one kit's rates are, by format."""


@dataclass(frozen=True)
class FalseAccusations:
    """Enroll a preset under several seeds and count."""

    preset: str = "digits"
    """Where the configuration starts from, as in enroll.py."""
    seeds: tuple[int, ...] = tuple(range(10))
    """Independent zoos."""
    out: Path = Path("false_accusations")
    """Folder for <preset>-<seed> (kits) and <preset>.md."""
    max_queries: int | None = None
    """Judge by so many images at most; None: by all."""
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: EnrollConfig(n_test=10)
    )
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def job() -> None:
    """Enroll every seed, count, write one table."""
    chosen = tyro.cli(FalseAccusations, args=current_arguments(sys.argv[1:], options={}), description=__doc__)
    config = enroll_preset(chosen.preset)
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"out: expected a folder that can be made at {chosen.out} ({error.strerror})", argument="out"
        ) from error
    folders = {seed: (chosen.out / f"{chosen.preset}-{seed}").absolute() for seed in chosen.seeds}
    for seed, out in folders.items():
        if out.exists():
            check_same(load_kit(out), config, chosen.requirements, seed, out)
    for seed, out in folders.items():
        if not out.exists():
            run_enrollment(config, chosen.preset, seed, chosen.requirements, chosen.runtime, out)
    kits = [load_kit(out) for out in folders.values()]
    rates = [measure_rates(kit, chosen.max_queries) for kit in kits]
    text = table_text(chosen, kits, rates)
    (chosen.out / f"{chosen.preset}.md").write_text(text)
    by_wire = [{fmt.wire: to_json(found) for fmt, found in of_kit.items()} for of_kit in rates]
    (chosen.out / f"{chosen.preset}.json").write_text(json.dumps(by_wire))
    print(text)


def check_same(kit: Kit, config: Config, requirements: EnrollConfig, seed: int, out: Path) -> None:
    """Accept a kit of the requested enrolment: one of other numbers would be counted under their name.

    Raises:
        UserError: it was made with others.
    """
    expected = _fields(recorded_configuration(with_model_counts(config, requirements), requirements)) | {"seed": seed}
    # A field that came later than the kit stood at its default then, or at what files leave out.
    left_out = EnrollConfig(n_committee=0, calibration_factor=1)
    found = _fields(recorded_configuration(Config(), left_out)) | _fields(kit.info.configuration or {})
    found["seed"] = kit.info.seed
    if different := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
        name, more = different[0], f" ({len(different) - 1} more differ)" if different[1:] else ""
        raise UserError(
            f"kit {out}: expected one enrolled with {name} {expected.get(name)}, it says {found.get(name)}{more}; name "
            "another folder, or give the options that it was made with",
            argument="out",
        )


def _fields(sections: Configuration) -> dict[str, Json]:
    """`section.field` to its value, as it comes back from JSON."""
    plain = json.loads(json.dumps(sections))
    return {f"{section}.{name}": value for section, fields in plain.items() for name, value in fields.items()}


def table_text(chosen: FalseAccusations, kits: Sequence[Kit], rates: Sequence[KitRates]) -> str:
    """Markdown for a README."""
    costs = [kit.info.costs for kit in kits if kit.info.costs]
    minutes = sum(cost.model_seconds for cost in costs) / 60
    lines = [
        f"`{chosen.preset}`, {len(kits)} zoos of {costs[0].models if costs else 0} models ({minutes:.0f} minutes of "
        f"training in all), alpha {kits[0].alpha:g}, {chosen.requirements.n_calibrate} models per group, "
        f"{'all images' if chosen.max_queries is None else f'at most {chosen.max_queries} images'}; "
        "share accused [95 % over zoos] (models).",
        "",
        *rows(rates, lambda found: found.false_accusations),
        "",
        *rows(rates, lambda found: found.power),
    ]
    return "\n".join(lines) + "\n"


def rows(rates: Sequence[KitRates], what: Callable[[AccusationRates], Rates]) -> list[str]:
    """A line per kind of model and format: the method that decides, and both methods."""
    lines = [
        "| suspect | answers | as decided | " + " | ".join(KIT_METHODS) + " |",
        "|---" * (3 + len(KIT_METHODS)) + "|",
    ]
    for fmt in rates[0]:
        of_format = [zoo[fmt] for zoo in rates]
        decided = [what(zoo.of(zoo.decided_by)) for zoo in of_format]
        columns = [decided, *([what(zoo.of(method)) for zoo in of_format] for method in KIT_METHODS)]
        for kind in sorted({kind for found in decided for kind in found}):
            cells = []
            for column in columns:
                n, of, low, high = interval(column, kind)
                cells.append(f"{n / max(of, 1):.3f} [{low:.3f}, {high:.3f}] ({n}/{of})")
            lines.append(f"| {kind} | {fmt.wire} | {' | '.join(cells)} |")
    return lines


def interval(rates: Sequence[Rates], kind: str) -> tuple[int, int, float, float]:
    """Accused, of so many, and the 95 % bootstrap interval of the rate over zoos."""
    counts = np.array([found[kind] for found in rates if kind in found], dtype=float)
    resampled = numpy_rng("zoos", kind).integers(len(counts), size=(N_BOOT, len(counts)))
    sums = counts[resampled].sum(1)
    low, high = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
    return int(counts[:, 0].sum()), int(counts[:, 1].sum()), float(low), float(high)


if __name__ == "__main__":
    main(job)
