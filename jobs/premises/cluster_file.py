"""The on-premise variant of cluster.yaml, with what it says is to be changed."""

import platform
import re
from collections.abc import Sequence
from pathlib import Path

import ray

BEGIN, END = "# >>> on premise\n", "# <<< on premise"


def on_premise(template: Path, addresses: Sequence[str], user: str, shared: str) -> str:
    """A cluster file for machines that are there.

    Args:
        template: cluster.yaml.
        addresses: of the head, then of the workers.
        user: who logs in.
        shared: the folder that all machines mount.
    """
    block = template.read_text().split(BEGIN)[1].split(END)[0]
    text = re.sub(r"(?m)^# ", "", block)
    head, *workers = addresses
    for old, new in (
        ("[10.0.0.2, 10.0.0.3]", f"[{', '.join(workers)}]"),
        ("10.0.0.1", head),
        ("ubuntu", user),
        ("/shared", shared),
        ("3.11.7 2.60.0", f"{platform.python_version()} {ray.__version__}"),
    ):
        if old not in text:
            raise ValueError(f"expected {old!r} in the variant of {template}")
        text = text.replace(old, new)
    return text
