"""The table of the subcommands; each is imported when it is called."""

from dataclasses import dataclass

from uapfp_dist.cli.parser.terminal import bold

TITLE = "uapfp: detect stolen models by their fingerprints, and measure how far to trust the verdict."


@dataclass(frozen=True)
class Subcommand:
    """A row of the overview."""

    module: str
    """It holds a COMMAND."""
    summary: str


def _of(name: str, summary: str) -> Subcommand:
    return Subcommand(f"uapfp_dist.cli.{name}", summary)


GROUPS: dict[str, dict[str, Subcommand]] = {
    "How well do fingerprints detect stolen models?": {
        "evaluate": _of("evaluate", "train models, steal some, fingerprint and judge all; results in MLflow"),
        "ablate": _of("ablate", "the same over a grid of settings, from stored responses"),
        "seeds": _of("seeds", "the same over several seeds: means with standard errors"),
        "transfer": _of("transfer", "judge one evaluation's models by another's encoder"),
    },
    "Is that model a copy of mine?": {
        "enroll": _of("enroll", "make a verification kit for your model"),
        "verify": _of("verify", "query a suspect (API, ONNX, weights) and judge it by a kit"),
        "serve": _of("serve", "serve a stolen or an independent model, to try verify on"),
        "images": _of("images", "what a data set holds, and which files are left out"),
    },
    "Look at results": {
        "status": _of("status", "the state of each evaluation, and the command that resumes it"),
        "results": _of("results", "a page of results from the reports in a folder"),
    },
    "Benchmarks": {
        "kit-power": _of("kit_power", "how often kits accuse independent models and miss stolen ones, over seeds"),
        "kit-robustness": _of("kit_robustness", "how many stolen models a kit still catches after they were modified"),
        "sibling-cost": _of("sibling_cost", "how much of the victim's training its siblings must repeat"),
        "benchmark": _of("benchmark", "speedups of the optimised algorithms, as ratios"),
    },
}
"""Purpose to subcommands, as the overview shows them."""

SUBCOMMANDS = {name: row for rows in GROUPS.values() for name, row in rows.items()}

EXAMPLES = (
    "uapfp evaluate                                   # embedded digits, two minutes on a laptop",
    "uapfp verify --kit kit --at http://HOST:PORT     # after uapfp enroll --out kit",
)


def overview() -> str:
    """One screen: what there is, by purpose."""
    lines = [TITLE]
    for purpose, rows in GROUPS.items():
        lines += ["", bold(purpose)] if purpose == next(iter(GROUPS)) else [bold(purpose)]
        lines += [f"  {name:<16}{row.summary}" for name, row in rows.items()]
    return "\n".join([*lines, "", *EXAMPLES, "uapfp COMMAND --help says more; uapfp --version"])
