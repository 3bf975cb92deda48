"""What is disturbed: a small evaluation and a small enrolment on digits, and what must be equal of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

Kind = Literal["evaluation", "enrolment"]
NETS = (
    *("--zoo.width", "4", "--zoo.epochs", "60", "--zoo.homologous-margin", "0.9", "--zoo.piracy-margin", "0.9"),
    *("--siblings.gate", "0.1", "--uap.xi-grid", "0.3", "0.6", "--uap.n-images", "200", "--uap.passes", "2"),
    *("--fingerprint.n-points", "10", "--fingerprint.n-views", "4", "--fingerprint.n-test-views", "4"),
    *("--fingerprint.n-natural", "20", "--fingerprint.max-natural", "50", "--encoder.epochs", "10"),
)
OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "evaluation": (
        *("--preset", "digits", *NETS, "--zoo.n-piracy", "3", "--zoo.n-homologous", "4", "--zoo.n-same-data", "1"),
        *("--zoo.n-soft-piracy", "1", "--zoo.n-other-piracy", "1", "1", "--siblings.n-committee", "2"),
        *("--siblings.n-piracy", "1", "--churn.pool-size", "600", "--churn.budgets", "20", "100"),
        *("--churn.n-points", "100", "--churn.max-points", "200", "--verdict.n-train", "2", "--verdict.n-calibrate"),
        *("1", "--verdict.n-resamples", "4", "--verdict.alpha", "0.5"),
        *("--methods", "uap", "weighted_errors", "churn"),
    ),
    "enrolment": (
        *("--preset", "digits", *NETS, "--seed", "0", "--alpha", "0.5", "--attacks", "cloudleak", "knockoff"),
        *("--n-train", "2", "--n-train-piracy", "1", "--n-test", "1", "--n-test-piracy", "1", "--n-committee", "2"),
        *("--n-sets", "2", "--n-points", "20", "--calibration-factor", "1", "--churn.pool-size", "1000"),
    ),
}
"""Options of the command; at alpha .5 one calibration model is enough to decide."""
SCRIPTS: Mapping[Kind, str] = {"evaluation": "jobs/full_eval.py", "enrolment": "jobs/enroll.py"}
OUTPUTS: Mapping[Kind, tuple[str, str]] = {"evaluation": ("--report", "report.json"), "enrolment": ("--out", "kit")}
"""The option for what comes out, and its name."""
OF_THE_WORK = ("models", "stage_seconds", "workers_busy", "wall_seconds", "environment")
"""Keys of a report about how it came about; all others must be equal."""


def command(kind: Kind, folder: Path, storage: str) -> list[str]:
    """The script and its options.

    Args:
        folder: of the output and of the database of MLflow.
    """
    option, name = OUTPUTS[kind]
    paths = ["--storage", storage, option, str(folder / name), "--mlflow-uri", f"sqlite:///{folder}/mlflow.db"]
    return [SCRIPTS[kind], *OPTIONS[kind], *paths]


@dataclass(frozen=True)
class Output:
    """What is compared: as text, so that every digit counts."""

    parts: dict[str, str]
    models: int
    """That are accounted for."""
    failed: int


def read_output(kind: Kind, folder: Path) -> Output:
    """Of a finished job.

    Raises:
        OSError: there is none.
    """
    path = folder / OUTPUTS[kind][1]
    return _read_report(path) if kind == "evaluation" else _read_kit(path)


def _read_report(path: Path) -> Output:
    report = json.loads(path.read_text())
    models = report["models"]
    parts = {key: json.dumps(value) for key, value in report.items() if key not in OF_THE_WORK}
    return Output(parts, models["trained"] + models["reused"], models["failed"])


def _read_kit(folder: Path) -> Output:
    """All of a kit but the seconds that it took, and the digest over them."""
    kit = json.loads((folder / "kit.json").read_text())["kit"]
    costs = kit["info"].pop("costs")
    parts = {key: json.dumps(value) for key, value in kit.items()}
    parts["tensors"] = sha256((folder / "kit.safetensors").read_bytes()).hexdigest()
    return Output(parts, costs["models"], costs["failed"])


def differences(output: Output, reference: Output) -> list[str]:
    """What is not, bit for bit, as in the undisturbed run; empty where all is."""
    names = sorted({*output.parts, *reference.parts})
    found = [name for name in names if output.parts.get(name) != reference.parts.get(name)]
    if (output.models, output.failed) != (reference.models, reference.failed):
        found.append(f"{output.models} models, {output.failed} failed")
    return found
