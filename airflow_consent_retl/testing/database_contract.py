"""The contract of databases, put together from its checks."""

from __future__ import annotations

from typing import ClassVar

import pytest

from airflow_consent_retl.testing.database_reading_checks import ReadingChecks
from airflow_consent_retl.testing.database_staging_checks import StagingChecks, StagingRefusalChecks
from airflow_consent_retl.testing.database_stand_in import DatabaseAbilities, DatabaseStandIn
from airflow_consent_retl.testing.database_submitting_checks import (
    SubmittingChecks,
    SubmittingRefusalChecks,
    SubmittingStagingChecks,
)
from airflow_consent_retl.testing.database_table_checks import TableChecks, TableProofChecks
from airflow_consent_retl.testing.database_type_checks import TypeChecks


class DatabaseContract(
    ReadingChecks,
    TypeChecks,
    TableChecks,
    TableProofChecks,
    SubmittingChecks,
    SubmittingStagingChecks,
    SubmittingRefusalChecks,
    StagingChecks,
    StagingRefusalChecks,
):
    """Subclass it as `Test…`, declare `abilities` and bring the fixture `database`; pytest finds the rest.

    A subclass has the checks of what it declares, and for what it does not declare the check that this is refused.
    """

    abilities: ClassVar[DatabaseAbilities]

    def __init_subclass__(cls) -> None:
        """Leave out the checks that contradict the declaration."""
        super().__init_subclass__()
        submits, stages = cls.abilities.submits, cls.abilities.stages
        applies: dict[type, bool] = {
            TableProofChecks: cls.abilities.swallows,
            SubmittingChecks: submits,
            SubmittingStagingChecks: submits and stages,
            SubmittingRefusalChecks: not submits,
            StagingChecks: stages,
            StagingRefusalChecks: not stages,
        }
        for checks, is_part in applies.items():
            for name in vars(checks):
                if name.startswith("test_") and not is_part:
                    # pytest collects what can be called.
                    setattr(cls, name, None)

    @pytest.fixture
    def database(self) -> DatabaseStandIn:
        """Return a running database for each check; override it."""
        raise pytest.UsageError(f"{type(self).__name__} brings no fixture `database`")
