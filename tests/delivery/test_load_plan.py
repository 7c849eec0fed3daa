"""The plan of a load, as a document and as lines for the log."""

from __future__ import annotations

from airflow_consent_retl.delivery.load_plan import LoadPlan

PLAN = LoadPlan(
    model="customers",
    destination="crm",
    counts={"read": 20_000, "denied": 3, "permitted": 19_997, "added": 0, "accepted": 0, "removed": 2},
    denied_by_reason={"C1:denied": 3},
    removals_by_cause={"consent_withdrawn": 2, "left_model": 0},
    stopped_by=["it would remove 900 of 1,000 people (left_model 900), max_removed_ratio is 0.5"],
    held_back={"added": 5, "updated": 0, "removed": 902},
    notes=["a delivery did not end: " + "a run first finds out what became of it, " * 5],
    policy_digest="sha256:0",
)


def test_the_lines_name_each_count_and_cause_that_is_not_0_and_are_short() -> None:
    lines = PLAN.lines()

    assert lines[0] == "dry run of `customers` to `crm`: nothing is sent, nothing is recorded"
    assert [line for line in lines if len(line) > 110] == []
    text = "\n".join(lines)
    for shown in ("20,000", "- C1:denied", "- consent_withdrawn", "would be sent", "held back: would be added 5"):
        assert shown in text
    assert "a run would stop: it would remove 900 of 1,000 people" in text
    for hidden in ("would be added  ", "left_model  ", "would be updated"):
        assert hidden not in text


def test_the_document_has_a_runs_counts_and_says_that_it_is_a_plan() -> None:
    document = PLAN.as_document()

    assert document["dry_run"] is True
    assert (document["read"], document["removed"]) == (20_000, 2)
    assert document["stopped_by"] == [*PLAN.stopped_by]
    assert PLAN.is_stopped
