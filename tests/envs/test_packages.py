"""Packages whose own code runs when it is asked for."""

import importlib
import subprocess
import sys
import textwrap

import pytest

from rllib_dbf.envs.packages import import_later


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes package `outer.inner`, the code of each as given, and forgets both at the end."""

    def write(outer: str = "", inner: str = "") -> None:
        folder = tmp_path / "outer" / "inner"
        folder.mkdir(parents=True)
        (tmp_path / "outer" / "__init__.py").write_text(outer)
        (folder / "__init__.py").write_text(inner)
        (folder / "part.py").write_text("made_of = 'part'")
        importlib.invalidate_caches()
        import_later("outer")
        import_later("outer.inner")

    monkeypatch.syspath_prepend(str(tmp_path))
    yield write
    for name in [name for name in sys.modules if name.split(".")[0] == "outer"]:
        del sys.modules[name]


def test_a_module_is_imported_without_its_packages(package):
    package("raise AssertionError('outer has run')", "raise AssertionError('inner has run')")
    from outer.inner.part import made_of

    assert made_of == "part"


def test_a_package_is_whole_for_who_asks(package):
    package("from .inner import whole", "from .part import made_of as whole")
    import outer
    import outer.inner.part
    from outer.inner import whole

    assert outer.whole == whole == "part"
    assert outer.inner is sys.modules["outer.inner"] and outer.inner.part.made_of == "part"
    with pytest.raises(AttributeError, match="nothing"):
        assert outer.nothing


def test_what_is_wrong_with_a_package_is_told_every_time(package):
    package("import a_package_that_is_not_there")
    import outer

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
            assert outer.something


def test_what_is_not_there_is_left_to_the_import():
    import_later("a_package_that_is_not_there")
    assert "a_package_that_is_not_there" not in sys.modules


def test_smax_costs_no_other_environment_and_is_jaxmarls_own():
    code = """
    import contextlib, io, sys
    from rllib_dbf.envs import smax_kernels
    assert "jaxmarl.environments.storm" not in sys.modules
    with contextlib.redirect_stdout(io.StringIO()):
        from jaxmarl import make
    import jaxmarl.environments
    assert "jaxmarl.environments.storm" in sys.modules
    assert jaxmarl.environments.HeuristicEnemySMAX is smax_kernels.HeuristicEnemySMAX
    assert isinstance(make("HeuristicEnemySMAX"), smax_kernels.HeuristicEnemySMAX)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
