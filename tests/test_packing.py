"""Packed episodes: what is kept, in which order, and the way back."""

import torch

from rllib_dbf.packing import pack_episodes

LENGTHS = torch.tensor([2, 4, 1, 4])
MASK = torch.arange(5) < LENGTHS[:, None]  # padded one step further than the longest
STATE = torch.arange(4)[:, None] * 10 + torch.arange(6)  # row b, time t holds 10 b + t
STEP = STATE[:, :-1]


def test_states_come_step_by_step_and_the_longest_first():
    packing = pack_episodes(MASK)
    assert packing.counts == [4, 4, 3, 2, 2]
    expected = [10, 30, 0, 20, 11, 31, 1, 21, 12, 32, 2, 13, 33, 14, 34]
    assert packing.pack(STATE).tolist() == expected


def test_transitions_and_the_states_they_start_from_are_in_the_same_order():
    packing = pack_episodes(MASK)
    expected = [10, 30, 0, 20, 11, 31, 1, 12, 32, 13, 33]
    assert packing.pack_steps(STEP).tolist() == expected
    assert packing.starting(packing.pack(STATE)).tolist() == expected


def test_unpack_is_the_way_back_with_zeros_where_nothing_was_played():
    packing = pack_episodes(MASK)
    real = torch.nn.functional.pad(MASK, (1, 0), value=True)
    again = packing.unpack(packing.pack(STATE.double()))
    assert torch.equal(again, torch.where(real, STATE, 0).double())
