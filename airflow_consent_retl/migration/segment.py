"""The command that prints Segment's consent categories as a policy document. It contains no rule.

python -m airflow_consent_retl.migration.segment categories.json --destinations names.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.migration.segment_categories import import_segment_categories


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the policy document; warnings go to standard error. Return 1 if there are problems."""
    parser = argparse.ArgumentParser(description="Segment's consent categories as a policy document.")
    parser.add_argument("categories", type=Path, help="JSON, in one of the two supported forms")
    parser.add_argument(
        "--destinations",
        type=Path,
        required=True,
        help="JSON: Segment's name of each destination, with its name in this policy",
    )
    given = parser.parse_args(arguments)
    try:
        imported = import_segment_categories(
            given.categories.read_bytes(), destinations=given.destinations.read_bytes()
        )
    except (PolicyError, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    for warning in imported.warnings:
        print(warning, file=sys.stderr)  # noqa: T201 - a command
    print(json.dumps(imported.document, indent=2))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
