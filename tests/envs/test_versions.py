"""The versions that a run's record tells."""

from importlib.metadata import version

from rllib_dbf.envs.versions import game_builds, simulator_versions


def test_installed_simulators_are_told_and_others_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    found = simulator_versions()
    assert found["jaxmarl"] == version("jaxmarl")
    assert "smacv2" not in found and "StarCraft II" not in found


def test_the_game_has_the_builds_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    assert game_builds() == []
    for name in ("Base75689", "Base9", "Shared"):
        (tmp_path / "Versions" / name).mkdir(parents=True)
    assert game_builds() == ["9", "75689"]
    assert simulator_versions()["StarCraft II"] == "build 9, 75689"
