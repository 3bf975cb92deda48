"""The command line of the benchmark of a GPU: by the standard library alone, as the machine is bare."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from uapfp_dist.benchmarks.gpu.run import PARTS, run
from uapfp_dist.benchmarks.gpu.settings import Settings


def main(about: str | None, arguments: Sequence[str] | None = None) -> None:
    """Parse, measure; an input that is wrong ends with a line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-benchmark"), help="folder of the results")
    parser.add_argument("--data-root", type=Path, help="folder with Fashion-MNIST in torchvision's layout")
    parser.add_argument("--minutes", type=float, default=6.0, help="for everything (default: 6)")
    parser.add_argument("--device", default="cuda", help="cuda or cpu (default: cuda)")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal, which measures nothing at size")
    chosen = parser.parse_args(arguments)
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("device: expected a GPU that torch sees, found none; --device cpu --tiny is a rehearsal")
    if not chosen.minutes > 0:
        sys.exit(f"minutes: expected more than 0, got {chosen.minutes:g}")
    if chosen.data_root is not None and not chosen.data_root.is_dir():
        sys.exit(f"data-root: expected a folder with Fashion-MNIST, {chosen.data_root} is none")
    chosen.out.mkdir(parents=True, exist_ok=True)
    root = None if chosen.data_root is None else str(chosen.data_root.resolve())
    settings = Settings(chosen.device, str(chosen.out.resolve()), root, chosen.tiny)
    share = sum(PARTS[name].share for name in chosen.parts)
    run(settings, 60 * chosen.minutes / share, {name: PARTS[name] for name in chosen.parts})
