"""Addresses of the page: any name comes back unchanged, and Airflow's own pages are where Airflow has them."""

from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_consent_retl.sight import addresses


@pytest.mark.parametrize("sync", ["customers/webhook", "eu/../x/google_ads:emea", "a b&c=d#e?/f", "kundinnen-ä/w"])
def test_the_name_of_a_sync_comes_back_unchanged(sync: str) -> None:
    address = urlsplit(addresses.sync_page(sync, base="https://airflow.example.com/data"))

    assert (address.netloc, address.path, address.fragment) == ("airflow.example.com", "/data/consent-retl/sync", "")
    assert parse_qs(address.query) == {"name": [sync]}


def test_the_page_of_a_run_names_the_task_and_its_place_among_mapped_ones() -> None:
    run = "manual__2026-11-29T09:00:00+00:00"

    mapped = urlsplit(addresses.run_page("customers", run, "load", map_index=3))
    plain = urlsplit(addresses.run_page("customers", run, "load", map_index=-1))

    assert parse_qs(mapped.query) == {"dag_id": ["customers"], "run_id": [run], "task_id": ["load"], "map_index": ["3"]}
    assert parse_qs(plain.query) == {"dag_id": ["customers"], "run_id": [run], "task_id": ["load"]}


def test_a_run_of_airflow_is_one_part_of_the_path_each() -> None:
    address = addresses.airflow_task("customers", "manual__2026-11-29T09:00:00+00:00", "group.load", map_index=0)

    assert address == "/dags/customers/runs/manual__2026-11-29T09%3A00%3A00%2B00%3A00/tasks/group.load/mapped/0"


def test_the_form_for_a_person_has_no_parameter() -> None:
    assert addresses.person_page(base="/data") == "/data/consent-retl/person"
