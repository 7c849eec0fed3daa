"""The contract itself is checked: for each check there is a destination that breaks its rule, and is caught."""

from __future__ import annotations

import inspect

import pytest
from contract import broken
from contract.guest_book import GuestBookDestination, GuestBookStandIn

from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.testing import Circumstance, DestinationContract, StandIn

# The check, and who breaks its rule.
BROKEN: tuple[tuple[str, type[GuestBookDestination | StandIn], dict[str, object]], ...] = (
    ("accepts_every_row_and_stores_it", broken.Forgetful, {}),
    ("accepts_every_row_and_stores_it", broken.Short, {}),
    ("rejects_exactly_the_rows_that_the_other_side_refuses", broken.Optimist, {}),
    ("a_second_load_adds_to_the_first_or_replaces_it", broken.Cleaner, {}),
    ("somebody_who_is_sent_again_has_the_new_value_only", broken.Inserter, {}),
    ("the_same_rows_under_the_same_key_are_there_once", broken.Keyless, {}),
    ("somebody_who_occurs_twice_in_a_batch_is_there_once", broken.Unsparing, {}),
    ("an_empty_batch_has_no_outcome_and_asks_for_nothing", broken.Chatty, {}),
    ("a_load_without_rows_adds_nobody", broken.Cleaner, {}),
    ("odd_characters_arrive_as_they_are_or_their_row_is_rejected", broken.Trimmer, {}),
    ("text_that_is_not_utf_8_harms_no_other_row", broken.Collective, {}),
    ("a_huge_row_arrives_whole_or_is_rejected_and_harms_no_other", broken.Cutter, {}),
    ("takes_batches_up_to_its_limit", broken.Narrow, {"beyond": 0}),
    ("takes_batches_up_to_its_limit", broken.Narrow, {"beyond": 1}),
    ("takes_as_many_batches_at_the_same_time_as_it_says", broken.Entangled, {}),
    ("values_of_every_type_stay_apart_or_the_type_is_refused", broken.Rounder, {"kind": "int64"}),
    ("values_of_every_type_stay_apart_or_the_type_is_refused", broken.Trusting, {"kind": "month_day_nano_interval"}),
    ("removes_those_who_are_named_and_nobody_else", broken.Sweeping, {}),
    ("removes_those_who_are_named_and_nobody_else", broken.Pretender, {}),
    ("keys_that_look_alike_are_different_people", broken.Caseless, {}),
    ("somebody_who_was_never_there_counts_as_removed", broken.Pedant, {}),
    ("somebody_who_was_removed_can_be_removed_again", broken.Pedant, {}),
    ("somebody_who_was_removed_can_be_added_again", broken.Resentful, {}),
    ("one_load_removes_some_and_sends_others", broken.SingleMinded, {}),
    ("people_who_have_to_stay_are_rejected_and_the_others_go", broken.Optimist, {}),
    ("a_removal_that_was_only_reported_is_not_accepted", broken.Optimist, {}),
    ("removing_nobody_asks_for_nothing", broken.Chatty, {}),
    ("removes_batches_up_to_its_limit", broken.Narrow, {"beyond": 0}),
    ("removes_as_many_batches_at_the_same_time_as_it_says", broken.Entangled, {}),
    ("what_is_kept_for_a_removal_follows_from_the_row_alone", broken.Numbering, {}),
    ("clears_the_field_of_those_who_are_named_and_nothing_of_the_others", broken.Bleaching, {}),
    ("a_person_who_is_cleared_again_and_sent_again_has_the_new_value", broken.Grudging, {}),
    ("nothing_is_accepted_when_the_answer_is_lost", broken.Optimist, {"action": "send"}),
    ("nothing_is_accepted_when_the_answer_is_lost", broken.Optimist, {"action": "remove"}),
    ("nothing_is_accepted_when_the_answer_is_lost", broken.Hasty, {"action": "send"}),
    ("nothing_is_accepted_when_the_answer_cannot_be_read", broken.Optimist, {"action": "send"}),
    ("nothing_is_accepted_when_the_answer_cannot_be_read", broken.Hasty, {"action": "remove"}),
    ("is_unavailable_only_where_nothing_was_applied", broken.Optimist, {"action": "send"}),
    ("is_unavailable_only_where_nothing_was_applied", broken.Gloomy, {"action": "remove"}),
    ("a_refusal_of_everything_is_no_matter_of_rows", broken.Blaming, {"action": "send"}),
    ("no_error_code_or_log_tells_a_value_or_a_secret", broken.Talkative, {"fault": "unavailable", "action": "send"}),
    ("no_rejection_tells_a_value_or_a_secret", broken.Talkative, {}),
    ("no_removal_that_is_refused_tells_a_value_or_a_secret", broken.Talkative, {}),
    ("requests_that_are_tried_again_ask_before_each", broken.Stubborn, {"action": "remove"}),
    ("asks_before_each_request", broken.Rash, {"action": "send"}),
    ("asks_again_before_each_batch", broken.Once, {}),
    ("nothing_arrives_once_the_lease_is_lost", broken.Late, {"action": "send"}),
    ("nothing_arrives_once_the_lease_is_lost", broken.Rash, {"action": "remove"}),
    ("a_lease_that_is_lost_between_two_requests_stops_the_second", broken.Deaf, {}),
    ("a_removal_whose_lease_is_lost_is_finished_by_the_next_try", broken.Once, {}),
    ("every_circumstance_is_brought_about_or_impossible_for_a_reason", broken.Idle, {}),
    ("the_stand_in_makes_new_destinations_of_the_class", broken.Thrifty, {}),
    ("limits_are_known_before_it_is_opened", broken.Wavering, {}),
    ("removal_has_one_meaning_or_the_one_that_was_chosen", broken.Guessing, {}),
    ("the_target_is_told_without_secrets_and_stays_the_same", broken.Betraying, {}),
    ("open_refuses_fields_that_do_not_suit_before_any_request", broken.Trusting, {}),
    ("a_load_that_is_given_up_publishes_nothing_it_should_not", broken.Vengeful, {}),
    ("a_load_that_is_given_up_publishes_nothing_it_should_not", broken.Eager, {}),
    ("a_load_that_was_given_up_can_be_tried_again", broken.Possessive, {}),
    ("a_removal_that_is_given_up_takes_nobody_out_of_a_version", broken.Eager, {}),
    ("a_dry_run_before_the_first_load_sends_nothing", broken.Forward, {}),
    ("a_dry_run_after_a_load_changes_nothing", broken.Forward, {}),
    ("a_dry_run_refuses_fields_that_do_not_suit", broken.Trusting, {}),
)
CAUGHT = (AssertionError, pytest.fail.Exception, ConsentRetlError)


@pytest.mark.parametrize(
    ("check", "breaker", "circumstances"), BROKEN, ids=[f"{breaker.__name__}-{check}" for check, breaker, _ in BROKEN]
)
def test_a_check_catches_whoever_breaks_its_rule(
    check: str,
    breaker: type[GuestBookDestination | StandIn],
    circumstances: dict[str, object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Contract(DestinationContract):
        destination_class = breaker if issubclass(breaker, GuestBookDestination) else GuestBookDestination

    checked = getattr(Contract(), f"test_{check}")
    given = {"caplog": caplog} if "caplog" in inspect.signature(checked).parameters else {}
    stand_in = breaker() if issubclass(breaker, GuestBookStandIn) else GuestBookStandIn(Contract.destination_class)

    with pytest.raises(CAUGHT):
        checked(stand_in=stand_in, **circumstances, **given)


def test_every_check_has_somebody_whom_it_catches() -> None:
    checks = {name.removeprefix("test_") for name in dir(DestinationContract) if name.startswith("test_")}

    assert {check for check, _, _ in BROKEN} == checks


def test_what_is_wrong_with_a_stand_in_is_told_by_name() -> None:
    assert broken.Idle.undeclared() == [
        "`rainy_day` is not a circumstance",
        "`repeated_id` is declared impossible without a reason that explains it",
        f"`{Circumstance.REQUESTS}` has no method and is not declared impossible",
    ]
