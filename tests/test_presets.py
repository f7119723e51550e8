"""The table of presets, in the code and in the README; the example of docs/extending.md."""

import re
from pathlib import Path

import pytest
import torch

from rllib_dbf.config import DBFConfig
from rllib_dbf.nets import mixers
from rllib_dbf.presets import preset_table
from rllib_dbf.team import Utilities


def test_the_readme_has_the_table_of_the_code(root: Path) -> None:
    assert preset_table() in (root / "README.md").read_text(), (
        "put the output of rllib_dbf.presets.preset_table() into README.md"
    )


def test_the_example_of_a_mixer_runs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (root / "docs" / "extending.md").read_text().split("## A preset")[0]
    file, line = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    monkeypatch.setattr(mixers.MIXERS, "_parts", dict(mixers.MIXERS))
    names = {"MIXERS": mixers.MIXERS}
    exec(compile(file, "weighted_sum.py", "exec"), names)
    exec(line, names)
    for name in ("weighted_sum", "mean_shape(weighted_sum)"):
        DBFConfig(preset="ddn").training(mixer=name).validate()
        mixer = mixers.make_mixer(name, 5, 7, 17, 13)
        z = torch.randn(2, 3, 5, 11, requires_grad=True)
        nobody = torch.zeros(2, 3, 5, dtype=torch.int64)
        total = mixer(Utilities(z, z.mean(-1), nobody, z[..., :1]), torch.randn(2, 3, 17))
        assert total.shape == (2, 3, 1, 11)
        total.mean().backward()
        assert mixer.monotone and (z.grad.sum(dim=-1) >= 0).all()
