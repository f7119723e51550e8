"""Several learners as one: each takes a share of the data, and gradients are summed."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor


def sum_over_learners(gradients: list[Tensor]) -> None:
    """Sum all gradients over the learners, in place and in one message."""
    flat = torch.cat([x.reshape(-1) for x in gradients])
    torch.distributed.all_reduce(flat)
    pieces = flat.split([g.numel() for g in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def share_of(mask: Bool[Tensor, "B T"], num_learners: int) -> Tensor | float:
    """Weight that turns this learner's mean into its part of the mean over all learners."""
    if num_learners <= 1:
        return 1.0
    mine = mask.sum().float()
    total = mine.clone()
    torch.distributed.all_reduce(total)
    return mine / total
