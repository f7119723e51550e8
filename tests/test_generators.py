"""Generators and their states."""

import numpy as np
import torch

from rllib_dbf.generators import make_generator, restore, state_of

CPU = torch.device("cpu")


def draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))


def test_seed_and_stream_say_what_is_drawn():
    first, again, other = (make_generator(CPU, 3, stream) for stream in (1, 1, 2))
    assert draw(first) == draw(again) != draw(other)
    assert draw(make_generator(CPU, None, 1)) != draw(make_generator(CPU, None, 1))


def test_a_state_of_its_own_kind_goes_on_and_one_of_another_device_seeds():
    generator = make_generator(CPU, 3, 1)
    state = state_of(generator)
    expected = draw(generator)
    restore(generator, state)
    assert draw(generator) == expected
    of_a_gpu = np.arange(16, dtype=np.uint8)  # a GPU's are so short
    drawn = []
    for given in (of_a_gpu, of_a_gpu, of_a_gpu[::-1]):
        restore(generator, given)
        drawn.append(draw(generator))
    assert drawn[0] == drawn[1] != drawn[2]
