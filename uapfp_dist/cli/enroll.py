"""Enroll your model: train the models that tell its copies from others, and write the kit.

    uapfp enroll --out kit                     # the digits preset's own victim, minutes on a laptop
    uapfp enroll --data.name imagefolder --data-root MINE --model mine.safetensors --out kit \\
        --architecture mine.nets:make --trained-on mine.txt --train mine.nets:train

Publish the digest that is printed at the end before you query a suspect. The same command resumes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.cli.parser.command import Command
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.enrollment import OwnerFiles, run_enrollment
from uapfp_dist.launch.private_seed import seed_file
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import (
    EVALUATION_ALONE,
    SET_BY_REQUIREMENTS,
    check_no_unused_field,
    enroll_preset,
)
from uapfp_dist.verification.kit.text import kit_text


@dataclass(frozen=True)
class Enroll:
    """Make a verification kit."""

    preset: str = "digits"
    """Preset that all options start from, as in uapfp evaluate. Numbers of models follow from the options below."""
    seed: int | None = None
    """Seed of all random choices (default: a private one, kept in <out>.seed). Whoever knows it can make the siblings.
    The same command resumes with the private one."""
    out: Path = Path("kit")
    """New folder for the kit."""
    owner: Annotated[OwnerFiles, tyro.conf.arg(name="")] = field(default_factory=OwnerFiles)
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=EnrollConfig)
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def enroll(chosen: Enroll) -> None:
    """Run, say what the kit can do."""
    check_no_unused_field(chosen.config, enroll_preset(chosen.preset), chosen.requirements)
    out = chosen.out.expanduser().absolute()
    kit = run_enrollment(
        chosen.config, chosen.preset, chosen.seed, chosen.requirements, chosen.runtime, out, chosen.owner
    )
    print(f"\n{kit_text(kit)}\nkit: {out}\ndigest: {kit.digest}")
    if chosen.seed is None:
        print(f"seed: {seed_file(out)}, kept beside the kit and not in it: whoever has it can make the siblings")
    if kit.churn is not None:
        n = kit.info.max_suspects
        print(f"it decides about {n} suspect{'s' * (n != 1)} in all; for more, enroll with --max-suspects")
    print(f"judge a suspect: uapfp verify --kit {out} --expect {kit.digest} --at http://HOST:PORT", flush=True)


COMMAND = Command(
    Enroll,
    enroll,
    __doc__,
    ("out", "preset", "data-root", "model", "architecture", "trained-on", "train", "alpha", "max-suspects", "seed"),
    enroll_preset,
    unused=("report", *SET_BY_REQUIREMENTS, *EVALUATION_ALONE),
)
