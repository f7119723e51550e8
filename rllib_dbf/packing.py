"""Whole episodes in the order time visits their states, without padding where that pays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rllib_dbf.functional import compiled
from rllib_dbf.functional.devices import is_wide
from rllib_dbf.functional.losses import masked_mean


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

    @property
    def played(self) -> None:
        """None: of the packed transitions, as one long episode, all were played."""
        return

    def mean(self, x: Float[Tensor, "M ..."]) -> Float[Tensor, ""]:
        """The mean over played transitions, and over all further axes."""
        return x.mean()


class Grid(NamedTuple):
    """A `Packing` that keeps the padding, so that equal shapes are equal work.

    What a GPU wants: the work of an update can then be recorded once and repeated (a CUDA graph),
    and nothing waits for the device to tell how long the episodes are. Packed order is time after
    time, the episodes in the batch's order.
    """

    mask: Bool[Tensor, "B T"]

    @property
    def counts(self) -> list[int]:
        """Episodes at each step: all of them."""
        episodes, steps = self.mask.shape
        return [episodes] * (steps + 1)

    @property
    def origins(self) -> slice:
        """Packed positions of the states that transitions start from: the first M."""
        return slice(self.mask.numel())

    def pack(self, padded: Tensor) -> Tensor:
        """The states of a padded [B, T+1, …] tensor: [P, …]."""
        return padded.transpose(0, 1).flatten(0, 1)

    def pack_steps(self, padded: Tensor) -> Tensor:
        """The transitions of a padded [B, T, …] tensor: [M, …]."""
        return padded.transpose(0, 1).flatten(0, 1)

    def unpack(self, packed: Tensor) -> Tensor:
        """The padded [B, T+1, …] tensor of packed states; anything where there is none."""
        return packed.unflatten(0, (-1, len(self.mask))).transpose(0, 1)

    def starting(self, packed: Tensor) -> Tensor:
        """The packed states from which a transition starts: [M, …]."""
        return packed[self.origins]

    @property
    def played(self) -> Bool[Tensor, "1 M"]:
        """Which of the packed transitions were played, as one long episode."""
        return self.mask.t().reshape(1, -1)

    def mean(self, x: Float[Tensor, "M ..."]) -> Float[Tensor, ""]:
        """The mean over played transitions, and over all further axes."""
        return masked_mean(x[None], self.played)


def pack_episodes(mask: Bool[Tensor, "B T"]) -> Packing | Grid:
    """The packing of episodes of which `mask` says which transitions were played.

    Args:
        mask: A prefix of each row is true.
    """
    if is_wide(mask.device):
        return Grid(mask)
    episodes, steps = mask.shape
    if compiled.fits(mask, on_stack=episodes + steps):
        return Packing(*compiled.pack(mask), shape=(episodes, steps + 1))
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
