"""What a hostile author can do: kits and transcripts that are changed, with every digest in order."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.verification.kit.io import INDEX, TENSORS, load_kit
from uapfp_dist.verification.querying.transcript_files import transcript_path


def canonical(value: Any) -> bytes:
    """JSON as kits are digested."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def forge(folder: Path, change: Callable[[dict[str, Any]], None] = lambda body: None) -> None:
    """Write the index again, changed, with every digest in order: what a hostile author can do."""
    body = json.loads((folder / INDEX).read_text())["kit"]
    data = (folder / TENSORS).read_bytes()
    body["files"][TENSORS] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    change(body)
    digest = hashlib.sha256(canonical(body)).hexdigest()
    (folder / INDEX).write_bytes(canonical({"digest": digest, "kit": body}))


def tamper(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    """One tensor changed, every digest in order."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        tensors[name] = change(tensors[name]).contiguous()
        save_file(tensors, folder / TENSORS)
        forge(folder)

    return apply


def forged(out: Path, path: Path, change: Any, name: str = "s") -> Path:
    """A transcript with a good chain of digests over changed records."""
    records = [json.loads(line)["record"] for line in transcript_path(out, name).read_text().splitlines()]
    changed = change(records) or records
    last, lines = "", []
    for record in changed:
        body = json.dumps(record).encode()
        last = hashlib.sha256(last.encode() + body).hexdigest()
        lines.append(b'{"sha256": "' + last.encode() + b'", "record": ' + body + b"}\n")
    path.write_bytes(b"".join(lines))
    return path


def refused(folder: Path, word: str, expect: str | None = None) -> None:
    """In one line that says which kit and what is wrong."""
    with pytest.raises(UserError, match=word) as caught:
        load_kit(folder, expect)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) in text
    assert len(text) < 500
