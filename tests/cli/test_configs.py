"""Every file in configs/ and tune_experiments/ names things that exist and fit together."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    file
    for folder in ("configs", "tune_experiments")
    for file in (ROOT / folder).rglob("*.yaml")
    if not file.stem.endswith("_study")  # many experiments in a form of their own
)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_config_file_validates(file: Path) -> None:
    from rllib_dbf.cli.experiment import resolve
    from rllib_dbf.cli.experiment_file import read_experiments

    for experiment in read_experiments(file, None, None):
        config, given, searched = resolve(experiment)
        assert experiment.stop_criteria()
        for name, (value, _) in given.items():
            assert name in searched or getattr(config, name, value) == value


def test_paper_config_is_table_1() -> None:
    from rllib_dbf.cli.experiment import resolve
    from rllib_dbf.cli.experiment_file import read_experiments

    (experiment,) = read_experiments(ROOT / "configs" / "paper.yaml", None, None)
    config, _, _ = resolve(experiment)
    assert (config.batch_episodes, config.replay_capacity, config.hidden_dim) == (8, 5000, 64)
    assert (config.lr, config.td_lambda, config.optimizer_name) == (1e-3, 0.6, "adam")
    assert (config.mixer, config.gradient_combination) == ("mean_shape(qmix)", "pcgrad")
    assert (config.gamma_b, config.beta_q, config.beta_b) == (0.5, 0.5, 0.5)
