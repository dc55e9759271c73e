"""What is known of each raw file: the manifests of the loads, as JSON files and as the table bronze.source_files."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ingest.errors import IngestError
from ingest.lake import query_if_there
from ingest.places import write_whole
from ingest.versions import TOPICS, FileVersion, Part

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.changes import Seen
    from ingest.lake import Lake

SOURCE_FILES = "bronze.source_files"


@dataclass(frozen=True)
class Manifest:
    """One load: its plan before it is written, its manifest afterwards.

    A plan has the `parts` of each feed, which its table does not have yet. A run that finds nothing new is load 0.
    """

    load_id: int
    loaded_at: datetime
    versions: tuple[FileVersion, ...] = ()
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def has_failures(self) -> bool:
        return bool(self.unreadable) or any(version.status == "failed" for version in self.versions)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the JSON file whole or not at all, and have it on disk before going on."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(_as_json(manifest)), indent=1))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest or a plan. Raises IngestError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if "bundles" in content:
            message = (
                f"{path}: an earlier version of this program has begun load {content['load_id']}, and only it can"
                " finish that: run it once more, then this one."
            )
            raise IngestError(message)
        return Manifest(
            load_id=content["load_id"],
            loaded_at=datetime.fromisoformat(content["loaded_at"]),
            versions=tuple(_version(file) for file in content["files"]),
            parts={feed: tuple(Part(**part) for part in parts) for feed, parts in content.get("parts", {}).items()},
            ignored=tuple((entry["path"], entry["reason"]) for entry in content["ignored"]),
            unreadable=tuple((entry["path"], entry["reason"]) for entry in content["unreadable"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"{path}: this manifest is damaged ({error}). Nothing was changed: restore it from a backup."
        raise IngestError(message) from error


def newest_load_id(lake: Lake) -> int:
    """Give the number of the newest load that is committed, 0 if none is."""
    rows = query_if_there(lake, SOURCE_FILES, "select max(_load_id) as load_id from t")
    return (rows[0]["load_id"] or 0) if rows else 0


def known_versions(lake: Lake, *, only_newest_of_topics: bool = False) -> list[FileVersion]:
    """Read bronze.source_files, in order of loads; what only the JSON manifests keep is left at its default.

    A partition of a topic has a row for each load, of which a load needs only the newest.
    """
    columns = ", ".join(COLUMNS.get(name, name) for name in TABLE_FIELDS)
    wanted = "t"
    if only_newest_of_topics:
        wanted = f"""
            (select *, max(_load_id) over (partition by _source_file) as newest from t) as files
            where _load_id = newest or _source_file not like '{TOPICS}%'
        """
    rows = query_if_there(lake, SOURCE_FILES, f"select {columns} from {wanted} order by _load_id")
    return [FileVersion(**dict(zip(TABLE_FIELDS, row.values(), strict=True))) for row in rows]


def complete_version(lake: Lake, source_file: str, loaded_at: datetime) -> FileVersion | None:
    """Look a version of a file up in the JSON manifest of the load that started then; None if that is lost."""
    return _versions(lake.manifest(loaded_at)).get(source_file)


@lru_cache(maxsize=64)
def _versions(path: Path) -> dict[str, FileVersion]:
    try:
        return {version.source_file: version for version in read_manifest(path).versions}
    except (FileNotFoundError, IngestError):
        return {}


COLUMNS = {name: f"_{name}" for name in ("source_file", "source_file_id", "load_id", "loaded_at")}
# What only the JSON manifests have of a version has a default.
TABLE_FIELDS = tuple(field.name for field in fields(FileVersion) if field.default is MISSING)


def _as_json(manifest: Manifest) -> dict[str, Any]:
    files = [{COLUMNS.get(name, name): value for name, value in vars(file).items()} for file in manifest.versions]
    counted = ("bytes", "lines", "blank_lines", "records", "defective_records")
    return {
        "load_id": manifest.load_id,
        "loaded_at": manifest.loaded_at,
        "totals": {"files": len(files)} | {name: sum(file[name] for file in files) for name in counted},
        "files": files,
        "ignored": [{"path": path, "reason": reason} for path, reason in manifest.ignored],
        "unreadable": [{"path": path, "reason": reason} for path, reason in manifest.unreadable],
    } | ({"parts": manifest.parts} if manifest.parts else {})


def _version(content: dict[str, Any]) -> FileVersion:
    names = {field.name: COLUMNS.get(field.name, field.name) for field in fields(FileVersion)}
    known = {name: content[key] for name, key in names.items() if key in content}
    known |= {name: datetime.fromisoformat(known[name]) for name in ("loaded_at", "modified_at")}
    # Manifests of earlier versions have one hash of all records.
    one_hash = [(content["first_line"], content["records_id"])] if content.get("records_id") else []
    known.setdefault("defective_records", 0)  # a plan of an earlier version has none
    known["record_hashes"] = tuple((line, text) for line, text in content.get("record_hashes", one_hash))
    return FileVersion(**known)


def read_seen(lake: Lake) -> Seen:
    """Read what files were found to be; without that, which may be lost at any time, they are read once more."""
    try:
        content = json.loads(_seen(lake).read_text(encoding="utf-8"))
        return {name: (load_id, stamp) for name, (load_id, stamp) in content.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_seen(lake: Lake, seen: Seen) -> None:
    write_whole(_seen(lake), msgspec.json.encode(seen))


def _seen(lake: Lake) -> Path:
    return lake.home / "seen.json"
