import pytest

from rllib_dbf.expressions import ExpressionError, evaluate


@pytest.mark.parametrize(
    ("text", "value"), [("n-1", 4), ("n/2", 2.5), ("n//2", 2), ("-(1 - n) * 2", 8), ("0.5", 0.5)]
)
def test_formulas_of_the_team_size(text, value):
    assert evaluate(text, n=5) == value


@pytest.mark.parametrize(
    "text", ["", "n+", "m", "n**99", "1/0", "f(n)", "n.real", "1e999", "__import__('os')", "True"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ExpressionError, match="write one, or a formula of n"):
        evaluate(text, n=5)
