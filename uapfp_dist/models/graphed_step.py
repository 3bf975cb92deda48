"""A training step recorded as a CUDA graph: a small net spends its time on launching kernels, not in them.

The pattern is that of torch's documentation: a few real steps on a side stream, which make what the optimizer
remembers; then the step is recorded on inputs that stay where they are, and replayed on whatever is copied there.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from uapfp_dist.messages import one_line

WARM_UP = 3
"""Steps before one is recorded."""
FEWEST = 20
"""Steps below which recording costs more than it saves."""

Step = Callable[[Tensor, Tensor], None]
"""A training step on a batch of images and targets, of one shape every time; nothing in it waits for the device."""

_failed: list[str] = []
"""Why recording failed in this process: it is not tried again."""


class _SideStreams(threading.local):
    """One for each device, for all trainings of a thread: cuBLAS keeps a workspace for every stream that it saw."""

    def __init__(self) -> None:
        self.by_device: dict[torch.device, Any] = {}


_side_streams = _SideStreams()


class GraphedStep:
    """A step that is recorded after a few calls; where that fails it goes on as it is, and says so once.

    Args:
        cuda: `torch.cuda`.
    """

    def __init__(self, cuda: Any = torch.cuda) -> None:
        self._cuda = cuda
        self._graph: Any = None
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._calls = 0

    @property
    def is_recorded(self) -> bool:
        """Whether it has been, and is replayed from then on."""
        return self._graph is not None

    def __call__(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """One step.

        Args:
            step: the same every time; what it works on beside its arguments stays where it is.
            images, targets: of one step.

        Raises:
            torch.OutOfMemoryError: as the step itself does.
        """
        self._calls += 1
        if _failed:
            step(images, targets)
        elif self._calls <= WARM_UP:
            self._on_side_stream(step, images, targets)
        elif self._inputs is None:
            self._record(step, images, targets)
        elif _alike(images, self._inputs[0]) and _alike(targets, self._inputs[1]):
            self._inputs[0].copy_(images)
            self._inputs[1].copy_(targets)
            self._graph.replay()
        else:
            step(images, targets)

    def _on_side_stream(self, step: Step, images: Tensor, targets: Tensor) -> None:
        current, side = self._cuda.current_stream(images.device), self._side_stream(images.device)
        side.wait_stream(current)
        with self._cuda.stream(side):
            step(images, targets)
        current.wait_stream(side)

    def _side_stream(self, device: torch.device) -> Any:
        streams = _side_streams.by_device
        if device not in streams:
            streams[device] = self._cuda.Stream(device)
        return streams[device]

    def _record(self, step: Step, images: Tensor, targets: Tensor) -> None:
        """Recording computes nothing: a replay follows, or the plain step."""
        inputs = images.clone(), targets.clone()
        graph, current = self._cuda.CUDAGraph(), self._cuda.current_stream(images.device)
        side = self._side_stream(images.device)
        try:
            with self._cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                step(*inputs)
        except RuntimeError as error:
            self._cuda.set_stream(current)  # torch leaves the other one on, where the end of recording fails
            if (out_of_memory := _out_of_memory(error)) is not None:
                raise out_of_memory from None
            _failed.append(one_line(error))
            logging.getLogger(__name__).warning(
                "CUDA graph: the training step cannot be recorded here, it goes on step by step (%s)", _failed[0]
            )
            step(images, targets)
            return
        self._graph, self._inputs = graph, inputs
        graph.replay()


def _out_of_memory(error: BaseException | None) -> torch.OutOfMemoryError | None:
    """That of the step, even if the end of recording then failed in its turn."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype
