import numpy as np
import pytest
import torch

from rllib_dbf.device_rows import DeviceRows, RowsBatch
from rllib_dbf.episode import FIELDS, EpisodeBundle, TeamEpisode
from rllib_dbf.replay import EpisodeReplay
from rllib_dbf.team import TrainBatch

N, A, O, S = 5, 7, 3, 17


def episode(length: int, number: int, *, terminated: bool = True) -> TeamEpisode:
    """An episode whose every observation, reward and state holds its number."""
    states = length + 1
    return TeamEpisode(
        obs=np.full((states, N, O), number, np.float32),
        state=np.full((states, S), number, np.float32),
        avail=np.ones((states, N, A), bool),
        alive=np.ones((states, N), bool),
        deaths=np.zeros(states, np.int16),
        actions=np.full((length, N), number % A, np.int16),
        behaviour_prob=np.full((length, N), 0.5, np.float32),
        reward=np.full(length, number, np.float32),
        terminated=terminated,
        truncated=not terminated,
        outcome="end",
        seed=number,
    )


def filled(lengths, capacity=100) -> EpisodeReplay:
    replay = EpisodeReplay(capacity, episode_limit=13)
    replay.add([episode(length, i + 1) for i, length in enumerate(lengths)])
    return replay


def test_a_sample_is_trimmed_to_its_longest_episode_and_padded_with_legal_zeros():
    replay = filled([3, 5])
    batch = replay.latest(2)
    assert batch.obs.shape == (2, 6, N, O)
    assert batch.mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert batch.reward.tolist() == [[1, 1, 1, 0, 0], [2, 2, 2, 2, 2]]
    assert batch.terminated.tolist() == [[False, False, True, False, False], [False] * 4 + [True]]
    assert batch.obs[0, 4:].abs().sum() == 0
    assert batch.obs[0, 3].eq(1).all(), "the last state of an episode is real"
    assert batch.avail.any(dim=-1).all(), "every avail row needs a legal action"
    assert batch.actions.dtype == torch.int64


def test_a_truncated_episode_has_no_terminated_step():
    replay = EpisodeReplay(4, episode_limit=13)
    replay.add([episode(3, 1, terminated=False)])
    assert not replay.latest(1).terminated.any()


def test_the_oldest_episodes_make_room_and_their_rows_are_reused():
    replay = filled([13] * 10 + [2] * 300, capacity=10)
    assert len(replay) == 10
    assert replay.episodes_added == 310
    assert replay.stored_steps == 20
    rows_in_use = replay.nbytes // replay._bytes_per_row
    assert rows_in_use <= 1 + 10 * 14, "rows of evicted episodes must be used again"
    assert sorted(replay.latest(10).reward[:, 0].tolist()) == list(range(301, 311))


def test_latest_gives_the_newest_in_order():
    assert filled([2] * 9).latest(3).reward[:, 0].tolist() == [7, 8, 9]
    assert filled([2] * 2).latest(3).reward[:, 0].tolist() == [1, 2]


def test_every_episode_is_drawn_equally_often_and_never_twice_in_a_sample():
    replay, rng = filled([2] * 10), np.random.default_rng(0)
    counts = np.zeros(10)
    for _ in range(2000):
        drawn = replay.sample(5, rng).reward[:, 0].long().numpy() - 1
        assert len(set(drawn)) == 5
        counts[drawn] += 1
    assert np.abs(counts / 1000 - 1).max() < 0.08  # five standard deviations


def test_asking_for_more_than_is_stored_says_so():
    with pytest.raises(ValueError, match="asked for 8 episodes, but only 3 are stored"):
        filled([2] * 3).sample(8, np.random.default_rng(0))


def test_saved_and_loaded_the_store_gives_the_same_samples(tmp_path):
    replay = filled([4, 2, 9, 3, 13, 1], capacity=4)
    replay.save(tmp_path / "replay.npz")
    other = EpisodeReplay(4, episode_limit=13)
    other.load(tmp_path / "replay.npz")
    for store in (replay, other):
        store.add([episode(6, 99)])
    mine = replay.sample(4, np.random.default_rng(3))
    theirs = other.sample(4, np.random.default_rng(3))
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert other.episodes_added == 7


def test_memory_is_what_was_played_not_the_time_limit():
    replay = EpisodeReplay(1000, episode_limit=1000)
    replay.add([episode(4, i) for i in range(1000)])
    assert replay.nbytes == replay._bytes_per_row * (1 + 1000 * 5)


def test_parts_of_a_bundle_joined_again_are_the_bundle():
    episodes = [episode(n, n, terminated=n != 2) for n in (3, 1, 4, 2)]
    whole = EpisodeBundle.of(episodes)
    parts = [whole.part(0, 1), whole.part(1, 3), whole.part(3, 9)]
    assert [len(part) for part in parts] == [1, 2, 1]
    assert parts[1].fields["obs"][:, 0, 0].tolist() == [1.0] * 2 + [4.0] * 5
    joined = EpisodeBundle.join(parts)
    assert joined.steps == [3, 1, 4, 2] and joined.terminated == [True, True, True, False]
    for name in FIELDS:
        np.testing.assert_array_equal(joined.fields[name], whole.fields[name])


def with_rows(replay: EpisodeReplay) -> EpisodeReplay:
    """As on a GPU that has what is stored."""
    replay._there = DeviceRows(replay._records.dtype, len(replay._records), torch.device("cpu"))
    replay._copy_to_device()
    return replay


def check_told(replay: EpisodeReplay, n: int, k: int) -> None:
    rng = np.random.default_rng
    told = replay.train_batch(n, k, rng(1))
    assert isinstance(told, RowsBatch)
    found = told.to(torch.device("cpu")).episodes()
    longest = found.replay.mask.shape[1]
    expected = replay.sample(n, rng(1), longest), replay.latest(k, longest)
    assert told.steps == int(expected[0].mask.sum())
    for mine, part in zip(found, expected, strict=True):
        for name, x, y in zip(mine._fields, mine, part, strict=True):
            assert x.dtype == y.dtype and torch.equal(x, y), name


def test_a_device_that_has_the_rows_finds_the_same_episodes():
    replay = filled([3, 5, 2, 4] * 3, capacity=14)
    assert isinstance(replay.train_batch(4, 3, np.random.default_rng(0)), TrainBatch)
    with_rows(replay)
    check_told(replay, 4, 3)
    replay.add([episode(7, 6, terminated=False)] * 5)  # the copy follows, and old ones make room
    check_told(replay, 14, 6)
    other = with_rows(filled([2] * 3))
    other.set_state(replay.get_state())
    check_told(with_rows(other), 14, 6)


def test_rows_take_the_place_of_earlier_ones():
    replay = with_rows(filled([4] * 12))
    first, second = (replay.train_batch(4, 2, np.random.default_rng(s)) for s in (0, 1))
    there = first.to(torch.device("cpu"))
    second.overwrite(there)
    assert first.shape == second.shape and torch.equal(there.told, second.told)
    assert replay.train_batch(4, 0, np.random.default_rng(0)).episodes().on_policy is None
