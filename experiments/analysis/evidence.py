"""Every table of a study."""

from experiments.analysis import (
    planned_tables,
    question_tables,
    ranking_tables,
    result_tables,
    setup_tables,
)
from experiments.analysis.study import Study
from experiments.analysis.tables import Table


def gather(study: Study) -> list[Table]:
    """Those that hold something."""
    parts = planned_tables, question_tables, ranking_tables, result_tables, setup_tables
    return [table for part in parts for table in part.every(study) if table.rows]
