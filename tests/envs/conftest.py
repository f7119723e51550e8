"""StarCraft II's stand-in, where simulators are looked for."""

import pytest

from tests.envs.sc2_play import FAKES, HERE, Stub


@pytest.fixture
def stub(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2_STUB", str(tmp_path))
    monkeypatch.setenv("SC2PATH", str(tmp_path / "game"))
    (tmp_path / "game" / "Versions").mkdir(parents=True)
    for fake in FAKES:
        monkeypatch.syspath_prepend(str(HERE / f"fake_{fake}"))
    stub = Stub(tmp_path)
    yield stub
    for line in stub.events("step"):
        rows = zip(line["avail"], line["actions"], strict=True)
        assert all(legal[action] for legal, action in rows), "an illegal action was sent"


@pytest.fixture
def make(stub):
    """Makes environments that are closed at the end."""
    made = []

    def make_one(name="smac/3m", num_envs=1, **options):
        from rllib_dbf.envs import make_env  # see the tests' conftest.py

        made.append(make_env(name, num_envs, **options))
        return made[-1]

    yield make_one
    for env in made:
        env.close()
