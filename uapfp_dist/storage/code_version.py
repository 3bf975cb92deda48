"""Which code makes an artifact: a store outlives the code, and ids say what was asked for, not what carried it out."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PARTS = (
    "acceleration.py",
    "pass_size.py",
    "pixels.py",
    "response_format.py",
    "rng.py",
    "attacks",
    "data",
    "execution",
    "fingerprints",
    "models",
    "modifications",
    "perturbations",
)
"""Of the package: what a model's weights and responses may depend on."""
WORDS = re.compile(r'"""[\s\S]*?"""|^\s*#.*$|\s+#[^"\'\n]*$', re.MULTILINE)
"""Docstrings, and comments without quotes."""


@cache
def code_version() -> str:
    """Of this process: the package's version and a digest of what makes models, `WORDS` left out.

    `0.1.0+1a2b3c4d`; without the digest where the source is not at hand.
    """
    try:
        number = version("uapfp_dist")
    except PackageNotFoundError:
        number = "0"
    files = sorted(file for part in PARTS for file in _files(PACKAGE / part))
    return f"{number}+{code_digest(file.read_text(encoding='utf-8') for file in files)}" if files else number


def code_digest(sources: Iterable[str]) -> str:
    """8 hexadecimal digits over what source texts do."""
    sha = hashlib.sha256()
    for source in sources:
        lines = WORDS.sub("", source).split("\n")
        sha.update("\n".join(line for line in lines if line.strip()).encode() + b"\0")
    return sha.hexdigest()[:8]


def _files(part: Path) -> Iterator[Path]:
    yield from part.rglob("*.py") if part.is_dir() else [part] if part.is_file() else ()
