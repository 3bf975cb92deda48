"""A call in a process of its own: what a GPU held for it is free again when it returns."""

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

T = TypeVar("T")


def apart(call: Callable[[], T], seconds: float) -> T | None:
    """What `call` returns, in another process; None where it raises, dies or takes longer than `seconds`.

    Args:
        call: travels there, and what it returns travels back.
        seconds: at most, with the start of the process.
    """
    spawn = get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_answer, args=(call, sender), daemon=True)
    process.start()
    sender.close()  # the other process has its own: where that ends, so does the pipe
    try:
        found: T | None = receiver.recv() if receiver.poll(seconds) else None
    except (EOFError, OSError):
        found = None
    finally:
        process.kill()
        process.join()
        receiver.close()
    return found


def _answer(call: Callable[[], T], sender: Connection) -> None:
    """In the other process."""
    try:
        sender.send(call())
    except Exception:  # nobody reads why: the caller goes on without
        sender.close()
