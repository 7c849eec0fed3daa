"""dbt projects for tests: a manifest with models of one's own, and the real dbt in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.postgres import Postgres

TESTS = Path(__file__).resolve().parents[1]
SHOP = TESTS / "dbt" / "shop"
MANIFESTS = TESTS / "dbt" / "manifests"
_PYTHON = TESTS.parent / ".venv-dbt" / "bin" / "python"
# One process for several commands: importing dbt takes longer than running it.
_SCRIPT = """
import json, sys
from dbt.cli.main import dbtRunner

found = []
for command in json.loads(sys.argv[1]):
    done = dbtRunner().invoke([*command, "--profiles-dir", "."])
    results = getattr(done.result, "results", [])
    rows = {one.node.name: [str(one.status), one.failures, one.message] for one in results}
    found.append({"success": done.success, "results": rows, "error": str(done.exception or "")})
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True, slots=True)
class DbtResult:
    """The result of one command: by node, its status, its number of failures and its message."""

    success: bool
    results: Mapping[str, tuple[str, int | None, str]]
    error: str


@dataclass(frozen=True, slots=True)
class DbtProject:
    """A copy of the project `shop`, whose warehouse is a DuckDB file, or a database of PostgreSQL."""

    folder: Path
    file: Path
    postgres: Postgres | None = None

    @classmethod
    def copied(cls, folder: Path, postgres: Postgres | None = None) -> DbtProject:
        """Copy the project to a folder."""
        shutil.copytree(SHOP, folder / "shop")
        return cls(folder / "shop", folder / "shop.duckdb", postgres)

    @property
    def manifest(self) -> Path:
        return self.folder / "target" / "manifest.json"

    def dbt(self, *commands: Sequence[str]) -> list[DbtResult]:
        """Run commands of dbt, one after the other."""
        results = self.folder / "results.json"
        environment = {**os.environ, "SHOP_FILE": str(self.file), "DBT_VERSION_CHECK": "false"}
        if self.postgres is not None:
            environment |= {
                "SHOP_TARGET": "postgres",
                "SHOP_HOST": self.postgres.socket_folder,
                "SHOP_USER": self.postgres.user,
                "SHOP_DATABASE": self.postgres.database,
            }
        # The environment of the tests is not dbt's.
        environment.pop("PYTHONPATH", None)
        ran = subprocess.run(
            [str(_PYTHON), "-c", _SCRIPT, json.dumps(commands), str(results)],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return [DbtResult(**one) for one in json.loads(results.read_text())]


def model(name: str = "customers", **keys: Any) -> dict[str, Any]:
    """Return a model as a manifest has it."""
    return {
        "unique_id": f"model.shop.{name}",
        "name": name,
        "resource_type": "model",
        "package_name": "shop",
        "original_file_path": f"models/{name}.sql",
        "patch_path": "shop://models/shop.yml",
        "relation_name": f'"shop"."main"."{name}"',
        "config": {"materialized": "table", "enabled": True},
        "columns": {},
    } | keys


def declaring(meta: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a model whose `meta` declares a sync."""
    return model(config={"materialized": "table", "meta": {"consent_retl": meta}}, **keys)


def write_manifest(
    folder: Path, *nodes: Mapping[str, Any], schema: str = "v12", adapter: str = "duckdb", **sections: Any
) -> Path:
    """Write a manifest with these nodes."""
    path = folder / "manifest.json"
    document = {
        "metadata": {
            "dbt_schema_version": f"https://schemas.getdbt.com/dbt/manifest/{schema}.json",
            "dbt_version": "1.11.16",
            "adapter_type": adapter,
            "project_name": "shop",
        },
        "nodes": {node["unique_id"]: node for node in nodes},
        **sections,
    }
    path.write_text(json.dumps(document))
    return path
