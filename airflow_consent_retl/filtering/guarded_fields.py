"""Fields that a category guards, as columns of the model: they are withheld from a row that is sent itself.

A guarded name is a destination's field or a model's column. Every field that reads this column is withheld: mapping the
column to another field, or computing a field from it, does not bypass the guard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from airflow_consent_retl.consent import nearest
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.fields.field_values import answers_in, category_of, columns_of


def guarded_columns(names: Iterable[str], fields: Mapping[str, str]) -> frozenset[str]:
    """Return the columns that guarded names stand for, and the other values of fields that are withheld with them.

    A value that is computed from a guarded column is withheld as a whole. Where a guard names a field with such a
    value, all columns that it is computed from are guarded.

    Args:
        names: the guarded names of a destination; by `answer_name`, a category to which the person did not say yes.
        fields: the mapped fields: the destination's names, each with the model's column or another value.
    """
    guarded = set(names)
    inputs = {name: columns_of(source) for name, source in fields.items()}
    columns = {column for name, some in inputs.items() for column in some if guarded.intersection((name, column))}
    answers = {category for name in guarded if (category := category_of(name)) is not None}
    shared = {fields[name] for name, answer in answers_in(fields) if answer.category in answers}
    computed = {source for name, source in fields.items() if name in guarded or columns.intersection(inputs[name])}
    return frozenset(columns | shared | computed)


def check_guarded(
    guards: Mapping[str, Collection[str]],
    fields: Mapping[str, str],
    *,
    destination: str,
    primary_key: str,
    not_sent: Collection[str],
) -> dict[str, list[str]]:
    """Check that every guard applies to a field, and return the fields by guard; a guard without one is not sent.

    Args:
        guards: what the policy guards at the destination: each guard with all its names.
        fields: the mapped fields: the destination's names, each with the model's column.
        destination: for messages.
        primary_key: the model's, which cannot be withheld.
        not_sent: the guards that the DAG declares as not sent.

    Raises:
        RefusedError: a guard names the primary key; or it names no field and the DAG does not declare it as not sent;
            or the DAG declares it and sends it, or declares a name that the policy does not guard.
    """
    known = sorted({*fields, *(column for source in fields.values() for column in columns_of(source))})
    applied = {}
    for guard, names in guards.items():
        columns = guarded_columns(names, fields)
        if primary_key in columns or primary_key in names:
            raise RefusedError(f"the policy guards field `{guard}` of `{destination}`, which is the row's primary key")
        applied[guard] = [name for name, column in fields.items() if column in columns]
        if applied[guard] and guard in not_sent:
            shown = ", ".join(f"`{name}`" for name in applied[guard])
            raise RefusedError(f"fields_not_sent names `{guard}`, but `{destination}` is sent it as {shown}")
        if not applied[guard]:
            _check_not_sent(guard, names, known, destination=destination, declared=guard in not_sent)
    for name in sorted(set(not_sent) - guards.keys()):
        near = nearest(name, guards)
        raise RefusedError(
            f"fields_not_sent names `{name}`, which the policy does not guard at `{destination}`"
            + (f", did you mean `{near}`?" if near else "")
        )
    return applied


def _check_not_sent(guard: str, names: Collection[str], known: list[str], *, destination: str, declared: bool) -> None:
    folded = {name.strip().casefold() for name in names}
    same = next((name for name in known if name.strip().casefold() in folded), None)
    near = same or next(filter(None, (nearest(name, known) for name in sorted(names))), None)
    if same is None and declared:
        return
    raise RefusedError(
        f"the policy guards field `{guard}`, which `{destination}` does not have"
        + (f", did you mean `{near}`?" if near else "")
        + ": the guard would withhold nothing; send the values under this name, add the name under which they are "
        f'sent to the policy as an alias, or, if they are not sent, set fields_not_sent=["{guard}"] in the DAG'
    )


def check_dropped(
    guards: Mapping[str, Collection[str]], sent: Mapping[str, str], fields: Mapping[str, str], *, destination: str
) -> None:
    """Check that each guarded field and answer that the destination got before is still mapped, to be taken back.

    Args:
        guards: the names that the present policy guards at the destination, each with all names that it stands for.
        sent: the fields of the last load.
        fields: the fields of this load.
        destination: the policy's name of the destination.

    Raises:
        RefusedError: one is not mapped any more: its values would stay at the destination after consent is withdrawn;
            or an answer to a category is not, which would stay there after the person changes it.
    """
    dropped = {name: column for name, column in sent.items() if name not in fields}
    for name, answer in answers_in(dropped):
        raise RefusedError(
            f"the last load gave `{destination}` the answer to category `{answer.category}` in field `{name}`; this "
            "load does not map the field any more, so the destination would keep a yes of people who take it back. "
            "Keep the field mapped. To take it back for everybody, map it to a constant that says no"
        )
    for name, names in sorted(guards.items()):
        kept = _sent_as(guarded_columns(names, dropped), dropped)
        if kept:
            raise RefusedError(
                f"the policy guards `{name}`, and `{destination}` got {kept} in the last load; this load does not map "
                "it any more, so the destination would keep it from people who withdraw. Keep the field mapped. To "
                "clear it for everybody, map it to constant(None) of airflow_consent_retl.fields"
            )


def _sent_as(columns: Collection[str], fields: Mapping[str, str]) -> str:
    return ", ".join(f"field `{name}` from column `{column}`" for name, column in fields.items() if column in columns)
