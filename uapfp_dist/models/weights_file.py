"""Files of weights: safetensors alone is opened, because a pickle runs code when it is read."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from uapfp_dist.errors import UserError
from uapfp_dist.messages import one_line

MOST_BYTES = 4 * 2**30
"""Of a file."""

MOST_HEADER = 100_000_000
"""Bytes that the format allows."""


def read_weights(path: Path, whose: str, argument: str = "") -> tuple[dict[str, Tensor], str]:
    """The tensors of a safetensors file, and the SHA-256 of the file.

    Args:
        path: the file.
        whose: begins an error.
        argument: of an error.

    Raises:
        UserError: another format, no such file, torn, too large.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
        # A safetensors file begins with the length of its header, and the header with a brace. The first bytes of a
        # pickle or a zip make a length beyond any.
        if start[8:9] != b"{" or int.from_bytes(start[:8], "little") > MOST_HEADER:
            raise UserError(
                f"{whose}: expected a safetensors file, {path.name!a:.80} is none; it may be a pickle, which runs code "
                f"when read and is never opened here. If it is your own, this line of Python converts it: "
                f"{conversion(path)}",
                argument=argument,
            )
        if (size := path.stat().st_size) > MOST_BYTES:
            raise UserError(
                f"{whose}: expected at most {MOST_BYTES >> 30} GiB in {path.name}, got {size >> 30} GiB",
                argument=argument,
            )
        raw = path.read_bytes()
        return load_tensors(raw), hashlib.sha256(raw).hexdigest()
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        cause = (error.strerror if isinstance(error, OSError) else "") or one_line(error)
        raise UserError(
            f"{whose}: expected a file of safetensors at {path} ({cause}); check the path, or save the weights anew",
            argument=argument,
        ) from error


def conversion(path: Path) -> str:
    """A line of Python by which the owner of a file of torch's makes a safetensors file of it, beside it.

    It reads tensors alone, at the top level or in the usual places of a checkpoint.
    """
    there, source = path.with_suffix(".safetensors"), repr(str(path))
    if there == path:  # torch goes by the ending of a path
        there = path.with_name(f"{path.stem}_converted.safetensors")
        source = f"io.BytesIO(pathlib.Path({source}).read_bytes())"
    return (
        f"import io, pathlib, torch; from safetensors.torch import save_file; c = torch.load({source}, 'cpu', "
        "weights_only=True); c = next((c[k] for k in ('state_dict', 'model_state_dict', 'model') if k in c), c); "
        f"save_file({{k: t.contiguous().clone() for k, t in c.items() if torch.is_tensor(t)}}, {str(there)!r})"
    )
