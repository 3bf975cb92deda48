"""Gradients of inputs alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Within it no parameter of `model` needs a gradient.

    `torch.autograd.grad` by inputs then keeps and computes nothing for the parameters. Autograd functions written in
    Python do so otherwise, whatever it is called with.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
