"""What lies in a folder of exported files: the pointer to the current version, and its manifest."""

from __future__ import annotations

import json
from typing import Any

import fsspec


def storage(uri: str) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem(uri.partition(":")[0])


def folder(uri: str) -> str:
    return uri.removeprefix("file://").removeprefix("memory:/")


def pointer(uri: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(storage(uri).cat_file(f"{folder(uri)}/_current.json"))
    return content


def manifest(uri: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        storage(uri).cat_file(f"{folder(uri)}/{pointer(uri)['current']}/_manifest.json")
    )
    return content
