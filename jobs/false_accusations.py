"""How often does a kit accuse the innocent, and how often does it catch a thief? Over independent zoos.

    python jobs/false_accusations.py --preset digits --seeds 0 1 2 3 4 5 6 7 8 9 --out false_accusations

Every seed is an enrolment of its own: its own cut of the data, victim, thieves, innocents and calibration. Suspects are
the models that neither trained nor calibrated the kit, each judged alone. Models of one zoo are not independent: the
intervals resample zoos. Finished seeds are not run again; a kit of another enrolment in their place is refused. For
Fashion-MNIST with 100 images:

    python jobs/false_accusations.py --preset fashion_mnist-small --data-root DATA --seeds 0 --max-queries 100
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from enroll import Enroll, run  # the job beside this one

from uapfp_dist.command import main
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.errors import UserError
from uapfp_dist.rng import numpy_rng
from uapfp_dist.verification.enroll_config import EnrollConfig, configuration, enroll_preset, with_model_counts
from uapfp_dist.verification.kit import Kit
from uapfp_dist.verification.kit_io import load_kit
from uapfp_dist.verification.power import measured
from uapfp_dist.verification.verdict import METHODS

N_BOOT = 2000

Table = dict[str, list[int]]
"""Kind of model to [accused, of so many]."""


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
    wanted: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: EnrollConfig(n_test=10))
    surroundings: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)


def interval(tables: Sequence[Table], kind: str) -> tuple[int, int, float, float]:
    """Accused, of so many, and the 95 % bootstrap interval of the rate over zoos."""
    counts = np.array([table[kind] for table in tables if kind in table], dtype=float)
    drawn = numpy_rng("zoos", kind).integers(len(counts), size=(N_BOOT, len(counts)))
    sums = counts[drawn].sum(1)
    low, high = np.percentile(sums[:, 0] / np.maximum(sums[:, 1], 1), [2.5, 97.5])
    return int(counts[:, 0].sum()), int(counts[:, 1].sum()), float(low), float(high)


def rows(found: Sequence[dict[str, Any]], what: str) -> list[str]:
    """A line per kind of model and format: the method that decides, and both methods."""
    lines = ["| suspect | answers | as decided | " + " | ".join(METHODS) + " |", "|---" * (3 + len(METHODS)) + "|"]
    for fmt in found[0]:
        ways = {"decided": [zoo[fmt][zoo[fmt]["decided_by"]][what] for zoo in found]}
        ways |= {method: [zoo[fmt][method][what] for zoo in found] for method in METHODS}
        for kind in sorted({kind for table in ways["decided"] for kind in table}):
            cells = []
            for tables in ways.values():
                n, of, low, high = interval(tables, kind)
                cells.append(f"{n / max(of, 1):.3f} [{low:.3f}, {high:.3f}] ({n}/{of})")
            lines.append(f"| {kind} | {fmt} | {' | '.join(cells)} |")
    return lines


def write_up(chosen: FalseAccusations, kits: Sequence[Kit]) -> str:
    """Markdown for a README."""
    found = [by_wire(kit, chosen.max_queries) for kit in kits]
    minutes = sum(kit.info["costs"]["model_seconds"] for kit in kits) / 60
    lines = [
        f"`{chosen.preset}`, {len(kits)} zoos of {kits[0].info['costs']['models']} models ({minutes:.0f} minutes of "
        f"training in all), alpha {kits[0].alpha:g}, {chosen.wanted.n_calibrate} models per group, "
        f"{'all images' if chosen.max_queries is None else f'at most {chosen.max_queries} images'}; "
        "share accused [95 % over zoos] (models).",
        "",
        *rows(found, "false_accusations"),
        "",
        *rows(found, "power"),
    ]
    return "\n".join(lines) + "\n"


def by_wire(kit: Kit, max_queries: int | None) -> dict[str, Any]:
    """What was measured, by the wire names of the formats."""
    return {fmt.wire: found for fmt, found in measured(kit, max_queries).items()}


def check_same(kit: Kit, config: Config, wanted: EnrollConfig, seed: int, out: Path) -> None:
    """Accept a kit of the enrolment that is asked for: one of other numbers would be counted under their name.

    Raises:
        UserError: it was made with others.
    """
    asked = _fields(configuration(with_model_counts(config, wanted), wanted)) | {"seed": seed}
    # A field that came later than the kit stood at its default then.
    found = _fields(configuration(Config(), EnrollConfig())) | _fields(kit.info.get("configuration", {}))
    found["seed"] = kit.info.get("seed")
    if different := sorted(name for name in asked.keys() | found.keys() if asked.get(name) != found.get(name)):
        name, more = different[0], f" ({len(different) - 1} more differ)" if different[1:] else ""
        raise UserError(
            f"kit {out}: expected one enrolled with {name} {asked.get(name)}, it says {found.get(name)}{more}; name "
            "another --out, or give the options that it was made with"
        )


def _fields(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """`section.field` to its value, as it comes back from JSON."""
    plain = json.loads(json.dumps(sections))
    return {f"{section}.{name}": value for section, fields in plain.items() for name, value in fields.items()}


def job() -> None:
    """Enroll every seed, count, write one table."""
    chosen = tyro.cli(FalseAccusations, args=sys.argv[1:], description=__doc__)
    config = enroll_preset(chosen.preset)
    try:
        chosen.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out: expected a folder that can be made at {chosen.out} ({error.strerror})") from error
    folders = {seed: (chosen.out / f"{chosen.preset}-{seed}").absolute() for seed in chosen.seeds}
    for seed, out in folders.items():
        if out.exists():
            check_same(load_kit(out), config, chosen.wanted, seed, out)
    for seed, out in folders.items():
        if not out.exists():
            run(Enroll(chosen.preset, seed, out, wanted=chosen.wanted, surroundings=chosen.surroundings, config=config))
    kits = [load_kit(out) for out in folders.values()]
    text = write_up(chosen, kits)
    (chosen.out / f"{chosen.preset}.md").write_text(text)
    (chosen.out / f"{chosen.preset}.json").write_text(json.dumps([by_wire(kit, chosen.max_queries) for kit in kits]))
    print(text)


if __name__ == "__main__":
    main(job)
