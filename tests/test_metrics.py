"""The documented metrics are the logged ones."""

import re
from pathlib import Path

from rllib_dbf.metrics import EPISODE_METRICS, LEARNER_METRICS, PART_METRICS

DOC = Path(__file__).parents[1] / "docs" / "metrics.md"


def test_the_documented_table_is_the_one_in_the_code():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOC.read_text(), flags=re.M))
    for name, meaning in (EPISODE_METRICS | LEARNER_METRICS | PART_METRICS).items():
        assert rows.get(name) == meaning, name
