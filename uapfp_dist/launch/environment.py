"""The software and hardware of a run."""

import os
import platform
from importlib.metadata import version

import torch


def environment() -> dict[str, str]:
    """Versions and hardware, for tags and reports."""
    packages = {name: version(name) for name in ("torch", "ray", "mlflow", "numpy", "scikit-learn")}
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        **packages,
        "cpus": str(os.cpu_count()),
        "machine": platform.machine(),
        "gpu": gpu,
    }
