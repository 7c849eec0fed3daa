"""Operators whose SQL may be bound to the date of its run, as `WHERE ds = '{{ ds }}'` is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    import jinja2

# The names of Airflow's templates that differ from run to run.
# https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html (read 2026-11-28)
_OF_THE_RUN = frozenset(
    {
        "dag_run",
        "data_interval_end",
        "data_interval_start",
        "ds",
        "ds_nodash",
        "execution_date",
        "logical_date",
        "prev_data_interval_end_success",
        "prev_data_interval_start_success",
        "prev_end_date_success",
        "prev_start_date_success",
        "run_id",
        "task_instance",
        "task_instance_key_str",
        "ti",
        "triggering_asset_events",
        "ts",
        "ts_nodash",
        "ts_nodash_with_tz",
    }
)
_SQL, _QUESTION, _SOURCES = "sql", "current_consent_sql", "consent_sources"
_IDENTITIES = "identities"


class DatedSqlOperator(ConsentRetlOperator):
    """An operator that knows which of its queries name a date of the run: templates tell it, rendered SQL does not."""

    _dated: frozenset[str] = frozenset()

    @property
    def sql_is_dated(self) -> bool:
        """Whether the template of the model's query names a date of the run."""
        return _SQL in self._dated

    @property
    def question_is_dated(self) -> bool:
        """Whether the template of the query for the present consent does."""
        return _QUESTION in self._dated

    @property
    def consent_sources_are_dated(self) -> bool:
        """Whether the template of a consent source's query, or of the identities' query, does."""
        return _SOURCES in self._dated

    def render_template(self, content: Any, context: Any, jinja_env: Any = None, seen_oids: Any = None) -> Any:
        """Render a parameter, and note whether its template names a date of the run."""
        environment = jinja_env or self.get_template_env()
        for name in (_SQL, _QUESTION):
            if content and content is getattr(self, name, None) and self._names_a_date(content, environment):
                self._dated |= {name}
        sources = getattr(self, _SOURCES, None)
        if content and content is sources:
            queries = [getattr(source, "sql", None) for source in sources or ()]
            if any(self._names_a_date(query, environment) for query in queries):
                self._dated |= {_SOURCES}
        identities = getattr(self, _IDENTITIES, None)
        if content and content is identities and self._names_a_date(identities.sql, environment):
            self._dated |= {_SOURCES}
        return super().render_template(content, context, jinja_env, seen_oids)

    def _names_a_date(self, template: object, environment: jinja2.Environment) -> bool:
        from jinja2 import TemplateError, meta

        if not isinstance(template, str):
            return False
        try:
            if template.endswith(tuple(self.template_ext)) and environment.loader is not None:
                template, _, _ = environment.loader.get_source(environment, template)
            return not _OF_THE_RUN.isdisjoint(meta.find_undeclared_variables(environment.parse(template)))
        except TemplateError:
            # Rendering reports it.
            return False


def date_of_run(context: Mapping[str, Any]) -> str | None:
    """Return the end of the run's data interval in ISO 8601; None if the run has none."""
    ends: Sequence[Any] = [context.get(name) for name in ("data_interval_end", "logical_date")]
    return next((end.isoformat() for end in ends if end is not None), None)
