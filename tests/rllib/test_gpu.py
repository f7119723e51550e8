"""What only a GPU can show: recorded updates are the updates, and go on from checkpoints."""

import numpy as np
import pytest
import torch

from rllib_dbf.device_rows import RowsBatch
from rllib_dbf.learner import NonFiniteUpdateError
from tests.rllib.small import small, weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def on_gpu(preset: str, gpu: bool = True, **training):
    config = small(preset, **training).learners(num_gpus_per_learner=int(gpu))
    algo = config.build_algo()
    while len(algo.replay) < 24:
        algo.replay.add(algo._prepare()())
    return algo


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is no second GPU")
def test_the_learners_gpu_need_not_be_the_first():
    config = small("dbf").learners(num_gpus_per_learner=1, local_gpu_idx=1)
    algo = config.build_algo()
    algo.train()
    for _ in range(4):
        update(algo, algo._batches()[0])
    assert any(graph is not None for _, graph in step_of(algo)._recorder._recorded.values())
    assert torch.cuda.current_device() == 0
    algo.stop()


def step_of(algo):
    return algo.learner_group._learner._gradient_step


def update(algo, batch, last: bool = False) -> None:
    algo.learner_group.update(
        batches=[batch], timesteps={}, episodes_sampled=0, reduce_metrics=last
    )


def farthest(algo, other) -> float:
    pairs = zip(weights(algo).values(), weights(other).values(), strict=True)
    return max(float(np.abs(x - y).max()) for x, y in pairs if x.size)


@pytest.mark.parametrize("preset", ["qmix", "dmix", "qtran_base", "cbf", "dbf"])
def test_recorded_updates_are_those_of_pytorch(preset):
    recorded, plain = on_gpu(preset), on_gpu(preset)
    step_of(plain)._recorder = None
    for _ in range(6):
        for algo in (recorded, plain):
            batch = algo._batches()[0]
            assert isinstance(batch, RowsBatch)
            update(algo, batch)
    graphs = [graph for _, graph in step_of(recorded)._recorder._recorded.values()]
    assert any(graph is not None for graph in graphs)
    assert farthest(recorded, plain) < 1e-6
    recorded.stop()
    plain.stop()


def test_an_update_that_is_not_finite_moves_nothing_and_is_told():
    algo = on_gpu("dbf")
    for _ in range(4):
        update(algo, algo._batches()[0])
    before = weights(algo)
    rows = algo.replay._there
    rows._field(rows._bytes, "reward")[1:] = torch.nan
    update(algo, algo._batches()[0])
    for name, x in weights(algo).items():
        np.testing.assert_array_equal(x, before[name])
    with pytest.raises(NonFiniteUpdateError, match="update 5"):
        update(algo, algo._batches()[0], last=True)
    algo.stop()


@pytest.mark.parametrize("to_gpu", [False, True])
def test_a_checkpoint_goes_on_anywhere(to_gpu, tmp_path):
    algo, other = on_gpu("dbf"), on_gpu("dbf", gpu=to_gpu)
    for _ in range(3):
        update(algo, algo._batches()[0])
    algo.save_to_path(tmp_path)
    other.restore_from_path(tmp_path)
    assert farthest(algo, other) == 0.0
    for each in (algo, other):
        each.train()
        each.stop()
