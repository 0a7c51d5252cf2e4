"""Muon for the hidden matrices, AdamW for the embedding and the norms.

Muon (Keller Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) replaces a matrix's momentum
by its nearest orthogonal matrix, found with a quintic Newton-Schulz iteration.
"""

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, rounds: int = 4) -> Tensor:
    """Return roughly U V' of the matrix's singular value decomposition U S V'."""
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # torch is untyped here
    """Momentum, orthogonalised; fused matrices are split into `parts` first (a parameter's attribute)."""

    def __init__(self, parameters: list[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch is untyped here
    def step(self, closure: None = None) -> None:
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(momentum, group["momentum"])
                parameter.mul_(1 - group["lr"] * group["decay"])
                pieces = zip(parameter.chunk(parameter.parts), ahead.chunk(parameter.parts), strict=True)
                for target, piece in pieces:
                    scale = max(1.0, piece.shape[0] / piece.shape[1]) ** 0.5
                    target.add_(orthogonalise(piece), alpha=-group["lr"] * scale)


def build(network: nn.Module, matrix_lr: float, other_lr: float) -> list[torch.optim.Optimizer]:
    """Return the optimisers that together update every parameter once."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2 and "embedding" not in name:
            parameter.parts = 3 if "qkv" in name else 2 if "gate_up" in name else 1
            matrices.append(parameter)
        else:
            others.append(parameter)
    adam = torch.optim.AdamW(others, lr=other_lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    optimisers = [Muon(matrices, lr=matrix_lr, decay=0.1), adam]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers
