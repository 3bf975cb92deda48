"""Random weights for training from scratch."""

from torch import nn


def initialise(net: nn.Module) -> None:
    """Kaiming's normal weights and biases of 0 for every convolution and linear layer, from the global generator.

    torch's default lets activations vanish over four layers: SGD then makes no progress during its warm-up.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
