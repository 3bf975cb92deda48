"""NVIDIA's Multi-Process Service: processes that share a GPU then work at the same time, not in turn."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uapfp_dist.messages import one_line

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
VISIBLE = "CUDA_VISIBLE_DEVICES"
SECONDS = 10.0
"""For the daemon to start, or to end."""
CLIENT = """
import ctypes, sys
device, context = ctypes.c_int(), ctypes.c_void_p()
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError as error:
    sys.exit(str(error))
for name, arguments in (
    ("cuInit", (0,)),
    ("cuDeviceGet", (ctypes.byref(device), 0)),
    ("cuCtxCreate_v2", (ctypes.byref(context), 0, device)),
):
    if code := getattr(cuda, name)(*arguments):
        sys.exit(f"{name} gave error {code}")
"""
"""A program that uses the GPU: a daemon may start where its clients find no server."""


@contextmanager
def mps() -> Iterator[str]:
    """Within it, processes that this one starts share a GPU through a daemon of its own, which ends with it.

    Yields:
        why it is not so, in one line; nothing where it is. Processes then share the GPU in turn. One that is there
        already, by its pipe directory, is used and left alone.
    """
    if is_running():
        yield ""
        return
    control = shutil.which(CONTROL)
    if control is None:
        yield f"MPS: this machine has no {CONTROL}"
        return
    # the path of a socket may have a hundred letters
    with tempfile.TemporaryDirectory(prefix="mps-", dir="/tmp") as folder:
        os.environ |= {PIPES: folder, LOGS: folder}
        why = _start(control)
        try:
            yield why
        finally:
            if not why:
                _tell(control, "quit")
            for name in (PIPES, LOGS):
                os.environ.pop(name, None)


def is_running() -> bool:
    """Whether processes started here find a daemon, by its pipe."""
    return (Path(os.environ.get(PIPES, "/tmp/nvidia-mps")) / "control").exists()


def _start(control: str) -> str:
    # A daemon numbers the GPUs that it sees anew, from 0; Ray pins its clients by the numbers of the machine.
    if wrong := _run([control, "-d"], {name: value for name, value in os.environ.items() if name != VISIBLE}):
        _tell(control, "quit")  # a daemon may be there all the same
        return f"MPS: it could not be started: {wrong}"
    if wrong := _run([sys.executable, "-c", CLIENT]):
        _tell(control, "quit")
        return f"MPS: it was started, but no process can use the GPU through it: {wrong}"
    return ""


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """What went wrong, in one line; None: in the environment of this process."""
    # a daemon inherits what its command writes to: the end of a pipe would be waited for until the daemon ends
    with tempfile.TemporaryFile() as said:
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return one_line(error)
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    return one_line(text or f"code {ended.returncode}") if ended.returncode else ""


def _tell(control: str, words: str) -> None:
    try:
        subprocess.run(
            [control],
            input=f"{words}\n",
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return
