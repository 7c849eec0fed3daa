"""The forms of a result."""

from __future__ import annotations

import json

import pytest

from airflow_consent_retl.cli.shown import Form, Result, Table, render
from airflow_consent_retl.progress import LINE

from .conftest import Run

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "document",
    [
        [{"target": "word " * 80, "uri": "s3://" + "x" * 300, "people": 1_234_567} for _ in range(2)],
        [{f"column {number}": number for number in range(15)}],
        {"place": "a long sentence " * 20, "rows": [{"one": "x" * 200, "two": 2}]},
        ["one line " * 40],
    ],
    ids=["two wide columns", "many columns", "an object", "sentences"],
)
def test_no_line_is_longer_than_a_terminal(document: object) -> None:
    lines = render(Result(document), Form.PLAIN).splitlines()

    assert max(map(len, lines)) <= LINE


def test_numbers_are_aligned_and_digests_cut_in_a_table() -> None:
    shown = render(
        Result([{"sync": "a", "people": 5, "digest": DIGEST}, {"sync": "b", "people": 1234, "digest": ""}]), Form.PLAIN
    )

    assert shown.splitlines() == [
        "sync      people  digest",
        "------  --------  ------------",
        "a              5  abababababab",
        "b          1,234",
    ]


def test_a_digest_that_a_person_has_to_copy_is_whole() -> None:
    assert DIGEST in render(Result({"digest": DIGEST}), Form.PLAIN)


def test_markdown_escapes_what_would_end_a_cell() -> None:
    shown = render(Result(None, [Table(("rule",), [["a | b"]])]), Form.MARKDOWN)

    assert shown.splitlines()[-1] == "| a \\| b |"


def test_a_word_that_fits_into_the_line_is_not_broken_by_its_column() -> None:
    code, words = 'salesforce_opt_out("HasOptedOutOfEmail")', "unknown 2, denied 1, granted 3, expired 4"

    shown = render(
        Result([{"column": "a" * 30, "use": "consent", "proposal": code, "in the sample": words}]), Form.PLAIN
    )

    assert code in shown
    assert max(map(len, shown.splitlines())) <= LINE


COMMAND = "airflow connections add crm_of_the_north --conn-type consentwebhook --conn-host https://crm.example"
SENTENCE = f"there is no connection `crm_of_the_north`; to make it: `{COMMAND}`; then `consent-retl check` again"


@pytest.mark.parametrize(
    "result",
    [
        Result([{"task": "people.load", "where": "conn_id", "what": SENTENCE} for _ in range(2)]),
        Result(None, [SENTENCE]),
        Result({"remedy": SENTENCE, "rows": [{"one": 1}]}),
    ],
    ids=["table", "sentence", "object"],
)
def test_each_command_stands_whole_on_a_line_of_its_own_below(result: Result) -> None:
    shown = render(result, Form.PLAIN)

    assert shown.endswith(f"\n\nTo copy:\n\n{COMMAND}\nconsent-retl check")
    assert "To copy" not in render(result, Form.MARKDOWN) + render(result, Form.JSON)


def test_the_commands_of_an_error_stand_whole_below_it(run: Run) -> None:
    refused = run("syncs", "--ledger-conn-id", "nowhere")

    assert refused.code == 2
    *_, listing, making = refused.shown_err.splitlines()
    assert (listing, making) == ("airflow connections list", "airflow connections add nowhere --conn-type …")


def test_names_and_values_in_backquotes_are_no_commands() -> None:
    assert "To copy" not in render(Result([{"what": "column `airflow` is not in the model `chmod`"}]), Form.PLAIN)


def test_json_is_the_document() -> None:
    document = {"people": 3, "digest": DIGEST, "none": None}

    assert json.loads(render(Result(document, ["a sentence"]), Form.JSON)) == document


def test_nothing_is_said_in_words() -> None:
    assert render(Result([], empty="no sync has people"), Form.PLAIN) == "no sync has people"
    assert json.loads(render(Result([], empty="no sync has people"), Form.JSON)) == []
