"""People who share identifiers are decided together in every workspace, also with those who are not in the model."""

from __future__ import annotations

from pathlib import Path

from parity.comparing import assert_same
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.workspaces import Both

from airflow_consent_retl.consent import ConsentSource, IdentityLinks, RowConsent

KINDS = {"id": "text", "stats": "boolean", "gpc": "boolean"}
CONSENTS, LINKS = {"who": "text", "ads": "boolean"}, {"who": "text", "identifier": "text", "kind": "text"}
SETUP = Setup(
    name="linked",
    policy={
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": ["questionnaire"]},
            {"id": "C0004", "name": "Advertising", "destinations": ["mailing"]},
        ]
    },
    consent=RowConsent({"C0002": "stats", "C0004": "ads"}, gpc="gpc"),
    columns={},
    destinations=("mailing", "questionnaire"),
)
# By person: what they say about C0002, about C0004, and whether they send Global Privacy Control.
# The stand-in of BigQuery also trims some letters, at which no id begins or ends.
SAID = {
    "ann": (True, True, False),
    "bob": (False, True, False),
    "kim": (True, True, None),
    "tom": (True, None, None),
    "gil": (None, True, True),
    "jan": (True, True, False),
    "gus": (True, True, None),
    "hal": (True, True, None),
    "ivo": (True, True, None),
}
SHARED = [
    (" Ann", "mail@post.org", "email"), ("bob", "MAIL@POST.ORG ", "email"), ("bob", "nokia", "phone"),
    ("kim", "nokia", "phone"), ("nokia", "hill", "home"), ("tom", "hill", "home"), ("jan", "hill", "home"),
    ("gil", "main", "home"), ("gus", "main", "home"), ("hal", "main", "shop"), ("hal", None, "home"),
    (None, "main", "home"),
]  # fmt: skip


def test_a_no_and_an_objection_reach_the_whole_cluster_alike(warehouse: Engine, root: Path) -> None:
    people = tuple(
        Person(who, {"id": who, "stats": stats, "gpc": gpc}, {}, {}) for who, (stats, _, gpc) in SAID.items()
    )
    model = Model(KINDS, people)
    warehouse.create("linked_people", KINDS, model.rows)
    answers = {who: ads for who, (_, ads, _) in SAID.items() if ads is not None} | {"nokia": False}
    warehouse.create("linked_consents", CONSENTS, [{"who": who, "ads": ads} for who, ads in answers.items()])
    warehouse.create("links", LINKS, [dict(zip(LINKS, link, strict=True)) for link in SHARED])
    both = Both.of(warehouse, root)
    source = ConsentSource(warehouse.query("linked_consents", CONSENTS), subject="who", key="id", columns=["ads"])
    links = IdentityLinks(
        warehouse.query("links", LINKS), subject="who", identifier="identifier", kind="kind", key="id"
    )

    both.extract(model, table="linked_people", consent_sources=[source], identities=links)
    lake, inside = both.filter(SETUP)

    found = both.inside.decided(inside, SETUP, asked=list(SAID))
    assert found.recipients == {
        "ann": ("mailing",),
        "bob": ("mailing",),
        "kim": ("mailing",),
        "tom": ("questionnaire",),
        "jan": ("questionnaire",),
        "hal": ("mailing", "questionnaire"),
        "ivo": ("mailing", "questionnaire"),
    }
    assert found.counts["mailing"].denied_by_reason == {"C0004:linked_no": 2, "gpc:denied": 1, "gpc:linked_no": 1}
    assert_same(found, both.lake.decided(lake, SETUP, asked=list(SAID)))
    assert both.inside.permitted(inside).clashes == both.lake.permitted(lake).clashes == {"C0002": 1, "C0004": 1}
