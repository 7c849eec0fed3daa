"""The clusters of people who share identifiers, as expressions for DuckDB and for every warehouse.

Clusters are found in rounds: everyone takes the smallest label of those with whom they share an identifier, until
nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import ibis

from airflow_consent_retl.consent import CLUSTER, PERSON, ConsentSource, IdentityLinks, SuppressionList
from airflow_consent_retl.databases.dialect import Dialect, concat, placeholder
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.extraction.consent_expressions import SUBJECT, joined, parts_of

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent import ExternalConsent

MAX_ROUNDS = 40
_MEMBER, _LABEL, _PEOPLE, _FORM = "member", "label", "people", "form"
_EDGES, _SHARED, _KEYS, _LINKED = "edges", "shared", "keys", "linked"


class TableSpace(Protocol):
    """The tables of one search for clusters, by placeholder."""

    def make(self, name: str, expression: ir.Table) -> None:
        """Make a table of an expression's rows: the placeholder of this name from now on."""

    def numbers(self, expression: ir.Table) -> tuple[int, ...]:
        """Return the only row of an expression."""

    def drop(self, name: str) -> None:
        """Drop a table that was made."""


@dataclass(frozen=True, slots=True)
class FoundClusters:
    """What a search found.

    Args:
        links: different links of a person to an identifier.
        clusters: clusters of more than one person.
        too_large: the clusters among them that are too large.
        in_too_large: the people in these.
        largest: the people in the largest cluster.
    """

    links: int
    clusters: int
    too_large: int
    in_too_large: int
    largest: int


def find_clusters(
    source: IdentityLinks,
    dialect: Dialect,
    space: TableSpace,
    *,
    number: int,
    check_links: Callable[[int], None],
    rounds: int = MAX_ROUNDS,
) -> FoundClusters:
    """Make the table `people` (see `people_table`) from the table `links`, which has the columns of the source.

    Args:
        source: the declaration.
        dialect: of the SQL.
        space: has the table `links`.
        number: of the source, for messages.
        check_links: gets the number of different links, and raises if there are too few.
        rounds: the most rounds.

    Raises:
        ModelError: the people of a cluster are linked in too long a chain.
    """
    space.make(_EDGES, _edges(source, dialect))
    edges = _edges_table(_EDGES)
    (links,) = space.numbers(edges.aggregate(rows=edges.count()))
    check_links(links)
    space.make(_SHARED, _shared())
    labels = _labels(0)
    space.make(labels, _edges_table(_SHARED).select(SUBJECT, **{_LABEL: _edges_table(_SHARED)[SUBJECT]}).distinct())
    for round_ in range(1, rounds + 1):
        later = _labels(round_)
        space.make(later, _next_labels(labels))
        (changed,) = space.numbers(_changed(labels, later))
        space.drop(labels)
        labels = later
        if not changed:
            break
    else:
        raise ModelError(
            f"consent_sources[{number}]: after {rounds} rounds, it is still not known to which cluster {changed:,} "
            "people belong: their identifiers link them in long chains. Leave identifiers out that are no one's own"
        )
    space.drop(_SHARED)
    space.make(_LINKED, _sized(labels, source.max_cluster_size))
    linked = placeholder(_LINKED, {_LABEL: "string", _PEOPLE: "int64", CLUSTER: "int64"})
    is_large = linked[CLUSTER] < 0
    found = space.numbers(
        linked.aggregate(
            clusters=linked.count(),
            large=ibis.cases((is_large, 1), else_=0).sum(),
            in_large=ibis.cases((is_large, linked[_PEOPLE]), else_=0).sum(),
            largest=linked[_PEOPLE].max(),
        )
    )
    people = edges.select(SUBJECT).distinct()
    labelled = placeholder(labels, {SUBJECT: "string", _LABEL: "string"})
    in_clusters = labelled.join(linked, labelled[_LABEL] == linked[_LABEL]).select(
        person=labelled[SUBJECT], cluster=linked[CLUSTER]
    )
    with_clusters = people.left_join(in_clusters, people[SUBJECT] == in_clusters["person"])
    space.make("people", with_clusters.select(SUBJECT, **{CLUSTER: with_clusters["cluster"]}))
    for name in (labels, _LINKED, _EDGES):
        space.drop(name)
    return FoundClusters(links, *found)


def people_table(name: str) -> ir.Table:
    """Return the table of all people of a link table, each once in the form in which ids are compared.

    `CLUSTER` is the number of their cluster, from 1; negative for one that is too large, NULL for people who share no
    identifier.
    """
    return placeholder(name, {SUBJECT: "string", CLUSTER: "int64"})


def known_rows(source: IdentityLinks, dialect: Dialect, keys: ir.Table, raw_key: ir.Value) -> ir.Table:
    """Return the number of rows of the model whose person is in the link table; arguments as of `outsiders`."""
    people = people_table("people")
    rows = keys.select(**{_FORM: dialect.key_in_form(raw_key, source.form)})
    known = rows.semi_join(people, rows[_FORM] == people[SUBJECT])
    return known.aggregate(rows=known.count())


def outsiders(source: IdentityLinks, dialect: Dialect, keys: ir.Table, raw_key: ir.Value) -> ir.Table:
    """Return the people who are in a cluster with a row of the model, and have none: their cluster, and their id.

    Args:
        source: the declaration, whose tables `links` and `people` are read.
        dialect: of the SQL.
        keys: the rows of the model.
        raw_key: the key of these rows, as they have it.
    """
    links = _links(source)
    known = keys.select(**{_FORM: dialect.key_in_form(raw_key, source.form)}).distinct()
    people = people_table("people")
    linked = people.filter(people[CLUSTER] > 0)
    touched = linked.semi_join(known, linked[SUBJECT] == known[_FORM]).select(CLUSTER).distinct()
    others = linked.semi_join(touched, linked[CLUSTER] == touched[CLUSTER])
    others = others.anti_join(known, others[SUBJECT] == known[_FORM])
    # Sources compare every byte, so an id is looked up as the link table has it, in each of its spellings.
    spelled = links.select(
        **{
            PERSON: dialect.exact_key(links[source.subject]),
            _FORM: dialect.key_in_form(links[source.subject], source.form),
        }
    ).distinct()
    found = others.join(spelled, others[SUBJECT] == spelled[_FORM])
    return found.select(CLUSTER, PERSON)


def with_answers(
    source: IdentityLinks, answers: Sequence[tuple[ExternalConsent, ir.Table]], dialect: Dialect, people: str
) -> ir.Table:
    """Return people who are not in the model, with what the sources say about them.

    Args:
        source: the declaration.
        answers: all sources of the model, each with its answers.
        dialect: of the SQL.
        people: the name of the placeholder for the result of `outsiders`.
    """
    rows = placeholder(people, {CLUSTER: "int64", PERSON: "string"})
    known = asked_about(source, [one for one, _ in answers])
    parts = [part for one, found in answers if one in known for part in parts_of(one, rows[PERSON], found, dialect)]
    return joined(rows, columns=[CLUSTER, PERSON], parts=parts)


def asked_about(source: IdentityLinks, sources: Sequence[ExternalConsent]) -> list[ConsentSource | SuppressionList]:
    """Return the sources that know people by the same key: only they can be asked about people without a row."""
    return [one for one in sources if isinstance(one, ConsentSource | SuppressionList) and one.key == source.key]


def identities_of(sources: Sequence[ExternalConsent]) -> IdentityLinks | None:
    """Return the link table among the sources of a model; there is one at most."""
    return next((source for source in sources if isinstance(source, IdentityLinks)), None)


def found_message(number: int, found: FoundClusters) -> str:
    """Return what a search found, in words."""
    return (
        f"consent_sources[{number}]: {found.links:,} links make {found.clusters:,} clusters of more than one person, "
        f"the largest of {found.largest:,}"
    )


def too_large_message(number: int, source: IdentityLinks, found: FoundClusters) -> str | None:
    """Return a warning about clusters that are too large; None if there are none."""
    if not found.too_large:
        return None
    return (
        f"consent_sources[{number}]: {found.too_large:,} clusters have more than max_cluster_size="
        f"{source.max_cluster_size} people, the largest {found.largest:,}: all {found.in_too_large:,} people in them "
        "are denied, as suppression:linked_doubt. Leave identifiers out of the SQL that are no one's own, such as the "
        "IP address of an office; if people are rightly linked, raise max_cluster_size"
    )


def _links(source: IdentityLinks) -> ir.Table:
    names = [source.subject, source.identifier, *([] if source.kind is None else [source.kind])]
    return placeholder("links", dict.fromkeys(names, "string"))


def _edges(source: IdentityLinks, dialect: Dialect) -> ir.Table:
    """Return each link once: a person and an identifier with its kind, in the forms in which they are compared."""
    links = _links(source)
    identifier = dialect.key_in_form(links[source.identifier], source.identifier_form)
    if source.kind is not None:
        kind = ibis.coalesce(dialect.exact_key(links[source.kind]), dialect.exact(ibis.literal("")))
        # The length comes first, so that no kind looks like the start of an identifier.
        identifier = dialect.exact(concat([kind.length().cast("string"), ibis.literal(":"), kind, identifier]))
    found = links.select(**{SUBJECT: dialect.key_in_form(links[source.subject], source.form), _MEMBER: identifier})
    return found.filter(found[SUBJECT].notnull() & found[_MEMBER].notnull()).distinct()


def _edges_table(name: str) -> ir.Table:
    return placeholder(name, {SUBJECT: "string", _MEMBER: "string"})


def _shared() -> ir.Table:
    """Return the links to identifiers of more than one person: the others link no one."""
    edges = _edges_table(_EDGES)
    counted = edges.group_by(_MEMBER).aggregate(**{_PEOPLE: edges.count()})
    several = counted.filter(counted[_PEOPLE] > 1)
    return edges.semi_join(several, edges[_MEMBER] == several[_MEMBER])


def _labels(round_: int) -> str:
    return f"labels_{round_}"


def _labels_table(name: str) -> ir.Table:
    return placeholder(name, {SUBJECT: "string", _LABEL: "string"})


def _next_labels(name: str) -> ir.Table:
    """Return the labels after one more round.

    Everyone takes the smallest label of a label among those with whom they share an identifier, and so does the person
    who is everyone's label. With this second step (of FastSV, https://arxiv.org/abs/1910.05971), chains of any order
    need about log2 of their length in rounds.
    """
    shared, labels = _edges_table(_SHARED), _labels_table(name)
    other = labels.select(person=labels[SUBJECT], further=labels[_LABEL])
    jumped = labels.join(other, labels[_LABEL] == other["person"]).select(SUBJECT, _LABEL, "further")
    labelled = shared.join(jumped, shared[SUBJECT] == jumped[SUBJECT]).select(shared[_MEMBER], jumped["further"])
    of_member = labelled.group_by(_MEMBER).aggregate(least=labelled["further"].min())
    reached = shared.join(of_member, shared[_MEMBER] == of_member[_MEMBER]).select(shared[SUBJECT], of_member["least"])
    of_person = reached.group_by(SUBJECT).aggregate(least=reached["least"].min())
    found = labels.join(of_person, labels[SUBJECT] == of_person[SUBJECT]).select(
        labels[SUBJECT], labels[_LABEL], of_person["least"]
    )
    own = found.select(SUBJECT, **{_LABEL: found["least"]})
    of_labels = found.select(**{SUBJECT: found[_LABEL], _LABEL: found["least"]})
    both = own.union(of_labels, distinct=False)
    return both.group_by(SUBJECT).aggregate(**{_LABEL: both[_LABEL].min()})


def _changed(before: str, after: str) -> ir.Table:
    old, new = _labels_table(before), _labels_table(after)
    both = old.join(new, old[SUBJECT] == new[SUBJECT])
    different = both.select(differs=ibis.cases((old[_LABEL] != new[_LABEL], 1), else_=0))
    return different.aggregate(changed=different["differs"].sum())


def _sized(labels: str, most: int) -> ir.Table:
    """Return each cluster with its number, and the number of its people."""
    table = _labels_table(labels)
    sized = table.group_by(_LABEL).aggregate(**{_PEOPLE: table.count()})
    numbered = sized.mutate(number=ibis.row_number() + 1)
    number = ibis.cases((numbered[_PEOPLE] > most, -numbered["number"]), else_=numbered["number"])
    return numbered.select(_LABEL, _PEOPLE, **{CLUSTER: number.cast("int64")})
