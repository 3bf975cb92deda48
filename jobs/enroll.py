"""Enroll a victim: train what it takes to tell its copies from other models, and write the kit that judges suspects.

    python jobs/enroll.py --out kit                            # the digits preset's own victim, minutes on a laptop
    python jobs/enroll.py --preset fashion_mnist-small --data-root DATA --out kit
    python jobs/enroll.py --data.name imagefolder --data-root MINE --model mine.safetensors \\
        --architecture mypackage.nets:make --trained-on mine.txt --train mypackage.nets:train --out kit
        # make(n_classes, shape) -> module, images in [0, 1]; train(images, labels, seed, device) -> module: a sibling

Publish the digest that is printed at the end before you query anybody. Running the same command again resumes.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from uapfp_dist.command import main
from uapfp_dist.config.command_line import parse_with_preset
from uapfp_dist.config.runtime import RuntimeConfig
from uapfp_dist.config.schema import Config
from uapfp_dist.launch.enrollment import OwnerFiles, run_enrollment
from uapfp_dist.launch.private_seed import seed_file
from uapfp_dist.verification.enrollment.config import EnrollConfig
from uapfp_dist.verification.enrollment.derived_config import enroll_preset
from uapfp_dist.verification.kit.text import kit_text


@dataclass(frozen=True)
class Enroll:
    """Make a verification kit."""

    preset: str = "digits"
    """Where the configuration starts from, as in full_eval.py; numbers of models follow from the options below."""
    seed: int | None = None
    """Every random choice follows from it: who knows it can make the victim's siblings. Default: a private one, drawn
    and kept beside the kit in the file <out>.seed, with which the same command resumes."""
    out: Path = Path("kit")
    """The kit, a new folder."""
    owner: Annotated[OwnerFiles, tyro.conf.arg(name="")] = field(default_factory=OwnerFiles)
    requirements: Annotated[EnrollConfig, tyro.conf.arg(name="")] = field(default_factory=EnrollConfig)
    runtime: Annotated[RuntimeConfig, tyro.conf.arg(name="")] = field(default_factory=RuntimeConfig)
    config: Annotated[Config, tyro.conf.arg(name="")] = field(default_factory=Config)


def parse(arguments: list[str]) -> Enroll:
    """The command line; the preset gives the defaults of every field of the configuration."""
    return parse_with_preset(Enroll, arguments, __doc__, enroll_preset)


def job() -> None:
    """Parse, run, say what the kit can do."""
    chosen = parse(sys.argv[1:])
    out = chosen.out.expanduser().absolute()
    kit = run_enrollment(
        chosen.config, chosen.preset, chosen.seed, chosen.requirements, chosen.runtime, out, chosen.owner
    )
    print(f"\n{kit_text(kit)}\nkit: {out}\ndigest: {kit.digest}")
    if chosen.seed is None:
        print(f"seed: {seed_file(out)}, kept beside the kit and not in it: whoever has it can make the siblings")
    print(f"judge a suspect: python jobs/verify.py --kit {out} --expect {kit.digest} --at http://HOST:PORT", flush=True)


if __name__ == "__main__":
    main(job)
