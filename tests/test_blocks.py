"""Tensors side by side in one block of memory."""

import numpy as np
import torch

from rllib_dbf.blocks import block_of, fetched, in_one_block, moved, overwrite, views_of

CPU = torch.device("cpu")
SHAPES = [((2, 3), torch.float32), ((5,), torch.bool), ((3, 4), torch.int64), ((), torch.int16)]


def filled() -> list[torch.Tensor]:
    made = in_one_block(SHAPES, pinned=False)
    for i, x in enumerate(made):
        x.copy_(torch.arange(x.numel()).view(x.shape) + i)
    return made


def test_tensors_of_a_block_do_not_touch_each_other():
    made = filled()
    assert [(tuple(x.shape), x.dtype) for x in made] == SHAPES
    for x, y in zip(made, views_of(block_of(made, CPU), SHAPES), strict=True):
        assert torch.equal(x, y) and x.data_ptr() == y.data_ptr()


def test_what_lies_elsewhere_is_put_together_and_parts_are_not_taken_for_the_whole():
    made = filled()
    apart = [x.clone() for x in made]
    parts = [made[0][::2], made[1][:2]]
    for given in (apart, parts, made[:2]):
        for x, y in zip(given, moved(given, CPU), strict=True):
            assert torch.equal(x, y) and x.data_ptr() != y.data_ptr()


def test_later_tensors_take_the_place_of_earlier_ones():
    there = moved([x.clone() for x in filled()], CPU)
    later = [torch.ones_like(x) for x in there]
    overwrite(there, later)
    for x, y in zip(there, later, strict=True):
        assert torch.equal(x, y)


def test_fetched_arrays_are_the_tensors():
    given = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.randn(()), "d": torch.ones(1)}
    found = fetched(given)
    assert list(found) == list(given)
    for name, x in given.items():
        np.testing.assert_array_equal(found[name], x.numpy())
