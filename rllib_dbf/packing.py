"""Whole episodes without their padding: the states that exist, in the order time visits them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Packing(NamedTuple):
    """Where the P real states and M real transitions of padded episodes lie.

    Packed order is that of `torch.nn.utils.rnn.PackedSequence`: all states at t = 0, then all at
    t = 1, …, the longest episode first at every t. Episodes that have ended are no longer there,
    so a network runs over what was played and a recurrence over ever fewer rows.
    """

    counts: list[int]  # episodes that have a state at t = 0, 1, …; never increases, sums to P
    states: Int[Tensor, " P"]  # b * (T + 1) + t of every state
    transitions: Int[Tensor, " M"]  # b * T + t of every transition, in the order of its state
    origins: Int[Tensor, " M"]  # packed position of the state each transition starts from
    shape: tuple[int, int]  # B and T + 1 of the padded episodes

    def pack(self, padded: Tensor) -> Tensor:
        """The states of a padded [B, T+1, …] tensor: [P, …]."""
        return padded.flatten(0, 1).index_select(0, self.states)

    def pack_steps(self, padded: Tensor) -> Tensor:
        """The transitions of a padded [B, T, …] tensor: [M, …]."""
        return padded.flatten(0, 1).index_select(0, self.transitions)

    def unpack(self, packed: Tensor) -> Tensor:
        """The padded [B, T+1, …] tensor of packed states, zeros where there is none."""
        rows, steps = self.shape
        padded = packed.new_zeros(rows * steps, *packed.shape[1:])
        return padded.index_copy(0, self.states, packed).unflatten(0, (rows, steps))

    def starting(self, packed: Tensor) -> Tensor:
        """The packed states from which a transition starts: [M, …]."""
        return packed.index_select(0, self.origins)


def pack_episodes(mask: Bool[Tensor, "B T"]) -> Packing:
    """The packing of episodes of which `mask` says which transitions were played.

    Args:
        mask: A prefix of each row is true.
    """
    episodes, steps = mask.shape
    played = mask.sum(dim=1).cpu()
    lengths, order = played.sort(descending=True, stable=True)
    time = torch.arange(steps + 1)
    present = time[:, None] <= lengths  # [T+1, B], sorted: a prefix of each row is true
    moving = time[:, None] < lengths
    t, row = present.nonzero(as_tuple=True)
    episode = order[row]
    origins = moving[t, row].nonzero().squeeze(1)
    from_t, from_episode = t[origins], episode[origins]
    to = mask.device
    return Packing(
        counts=[count for count in present.sum(dim=1).tolist() if count],
        states=(episode * (steps + 1) + t).to(to),
        transitions=(from_episode * steps + from_t).to(to),
        origins=origins.to(to),
        shape=(episodes, steps + 1),
    )
