"""The contract of databases, put together from its checks."""

from __future__ import annotations

import pytest

from airflow_consent_retl.testing.database_reading_checks import ReadingChecks
from airflow_consent_retl.testing.database_staging_checks import StagingChecks
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.database_submitting_checks import SubmittingChecks


class DatabaseContract(ReadingChecks, SubmittingChecks, StagingChecks):
    """Subclass it as `Test…` and bring the fixture `database`; pytest finds the rest."""

    @pytest.fixture
    def database(self) -> DatabaseStandIn:
        """Return a running database for each check; override it."""
        raise NotImplementedError(f"{type(self).__name__} brings no fixture `database`")
