"""Feeds: which raw files and topics belong to which bronze table, as the dbt sources YAML declares them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Literal, cast

import yaml

from ingest.errors import IngestError

if TYPE_CHECKING:
    from pathlib import Path

_RECORD_FILE = re.compile(r".*\.(jsonl|ndjson|json)(\.gz)?", re.IGNORECASE | re.ASCII | re.DOTALL)
_TOKEN = re.compile(r"\*\*/|\*\*|.", re.DOTALL)
_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
_TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
OWN_COLUMNS = frozenset(
    (
        "_raw",
        "_raw_bytes",
        "_defect",
        "_unknown_keys",
        "_source_file",
        "_source_line",
        "_source_file_id",
        "_load_id",
        "_loaded_at",
    )
)


@dataclass(frozen=True)
class Feed:
    """One bronze table and the raw files, and topics of Kafka, that it is made of.

    `paths` are patterns for names relative to the raw root (`*` stays within a folder, `**` crosses folders),
    `exclude` patterns for the last part of a name; both mind letter case. `keys` are the declared JSON keys.
    """

    name: str
    paths: tuple[str, ...]
    exclude: tuple[str, ...]
    repeated_content: Literal["skip", "load"]
    keys: tuple[str, ...]
    topics: tuple[str, ...] = ()

    def claims(self, name: str) -> bool:
        """Tell whether the name lies where this feed's files are, whatever its ending."""
        return any(_compiled(path).fullmatch(name) for path in self.paths)

    def may_reach(self, folder: str) -> bool:
        """Tell whether files below the folder could be this feed's: no only where that is certain."""
        starts = (path.partition("*")[0] for path in self.paths)
        return any(start.startswith(f"{folder}/") or f"{folder}/".startswith(start) for start in starts)

    def excludes(self, name: str) -> bool:
        """Tell whether the last part of the name is one that this feed leaves out."""
        base_name = name.rpartition("/")[2]
        return any(_compiled(pattern).fullmatch(base_name) for pattern in self.exclude)

    def matches(self, name: str) -> bool:
        """Tell whether a file of this name (relative to the raw root) is to be read into this feed."""
        return self.claims(name) and not self.excludes(name) and has_record_ending(name)


def has_record_ending(name: str) -> bool:
    """Tell whether the name ends like a file of records: .jsonl, .ndjson or .json, each also with .gz."""
    return _RECORD_FILE.fullmatch(name) is not None


def read_feeds(sources_yaml: Path) -> tuple[Feed, ...]:
    """Read every table that has `feed` under `config: meta:`, in the order of the file.

    Raises IngestError, which names the file and the place in it, where the YAML cannot be meant that way.
    """
    try:
        return _parsed(sources_yaml.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        message = f"{sources_yaml}: the feeds are declared in this file, but it cannot be read: {error}."
        raise IngestError(message) from error
    except yaml.YAMLError as error:
        message = f"{sources_yaml}: this is not YAML: {' '.join(str(error).split())}."
        raise IngestError(message) from error
    except _WrongError as error:
        message = f"{sources_yaml}: {error}."
        raise IngestError(message) from error


@functools.lru_cache(maxsize=1)
def _parsed(text: str) -> tuple[Feed, ...]:
    feeds = tuple(_feeds(yaml.load(text, _StrictLoader)))  # noqa: S506 - it is a SafeLoader
    _refuse_overlaps(feeds)
    return feeds


class _WrongError(Exception):
    """What is wrong with the YAML and where in it, without the name of the file."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML's own loader would silently keep the last."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                line = key.start_mark.line + 1
                message = f"the key {key.value!r} is given twice in line {line}; keep one of the two"
                raise _WrongError(message)
            seen.add(str(key.value))
        return node


def _feeds(content: object) -> list[Feed]:
    feeds: list[Feed] = []
    names: set[str] = set()
    for source in _mappings(content, "sources", "the top level"):
        for table in _mappings(source, "tables", f"source {source.get('name')!r}"):
            name = table.get("name")
            if not isinstance(name, str):
                message = f"a table of source {source.get('name')!r} has no name"
                raise _WrongError(message)
            if name.casefold() in names:
                message = f"table {name!r} is declared twice; keep one of the two"
                raise _WrongError(message)
            names.add(name.casefold())
            settings = _feed_settings(table)
            if settings is not None:
                feeds.append(_feed(name, settings, table))
    if not feeds:
        message = "no table has `config: {meta: {feed: {paths: [...]}}}`, so nothing can be ingested; declare one"
        raise _WrongError(message)
    return feeds


def _mappings(parent: object, key: str, place: str) -> list[dict[str, Any]]:
    entries = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        message = f"{place} must have `{key}:` with a list of mappings"
        raise _WrongError(message)
    return entries


def _feed_settings(table: dict[str, Any]) -> object:
    settings: object = table
    for key in ("config", "meta", "feed"):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _feed(name: str, settings: object, table: dict[str, Any]) -> Feed:
    place = f"table {name!r}"
    if not _TABLE_NAME.fullmatch(name) or name == "source_files":
        message = f"{place}: a feed's name must be lower-case letters, digits and underscores, and not source_files"
        raise _WrongError(message)
    if not isinstance(settings, dict):
        message = f"{place}: `feed` must be a mapping with `paths`, found {settings!r}"
        raise _WrongError(message)
    unknown = sorted(str(key) for key in settings.keys() - {"paths", "exclude", "repeated_content", "topics"})
    if unknown:
        message = f"{place}: `feed` knows paths, exclude, repeated_content and topics, found {', '.join(unknown)}"
        raise _WrongError(message)
    repeated_content = settings.get("repeated_content", "load")
    if repeated_content not in ("skip", "load"):
        message = f"{place}: repeated_content must be skip or load, found {repeated_content!r}"
        raise _WrongError(message)
    paths = _patterns(settings, "paths", place)
    if not paths or any(path.startswith("/") or ".." in path.split("/") for path in paths):
        message = f"{place}: paths must be one or more patterns relative to the raw root, found {list(paths)!r}"
        raise _WrongError(message)
    return Feed(
        name=name,
        paths=paths,
        exclude=_patterns(settings, "exclude", place),
        repeated_content=cast("Literal['skip', 'load']", repeated_content),
        keys=_declared_keys(table, place),
        topics=_patterns(settings, "topics", place),
    )


def _patterns(settings: dict[str, Any], key: str, place: str) -> tuple[str, ...]:
    patterns = settings.get(key, [])
    if not isinstance(patterns, list) or not all(pattern and isinstance(pattern, str) for pattern in patterns):
        message = f"{place}: {key} must be a list of texts, found {patterns!r}"
        raise _WrongError(message)
    return tuple(patterns)


def _declared_keys(table: dict[str, Any], place: str) -> tuple[str, ...]:
    seen: dict[str, str] = {}
    for column in _mappings(table, "columns", place):
        key = column.get("name")
        if not isinstance(key, str) or not key:
            message = f"{place}: a column needs a name that is text (quote yes, no and 1), found {key!r}"
            raise _WrongError(message)
        if key.casefold() in seen:
            message = f"{place}: columns {seen[key.casefold()]!r} and {key!r} are one name to Spark; keep one"
            raise _WrongError(message)
        if key.startswith("_") and key not in OWN_COLUMNS:
            message = (
                f"{place}: column {key!r}: names that begin with _ are the pipeline's own, so such a JSON key cannot "
                "be declared; it stays in _raw and _unknown_keys"
            )
            raise _WrongError(message)
        seen[key.casefold()] = key
        if not key.startswith("_") and column.get("data_type", "string") != "string":
            message = f"{place}: column {key!r} must have data_type string, found {column.get('data_type')!r}"
            raise _WrongError(message)
    keys = tuple(key for key in seen.values() if not key.startswith("_"))
    if not keys:
        message = f"{place}: columns must declare at least one JSON key"
        raise _WrongError(message)
    return keys


def _refuse_overlaps(feeds: tuple[Feed, ...]) -> None:
    for one, other in combinations(feeds, 2):
        for topic in set(one.topics) & set(other.topics):
            message = f"tables {one.name!r} and {other.name!r} both have the topic {topic!r}; keep one of the two"
            raise _WrongError(message)
        for path, other_path in product(one.paths, other.paths):
            set_apart = other.excludes(path) or one.excludes(other_path)
            if not set_apart and _overlap(_tokens(path), _tokens(other_path)):
                message = (
                    f"tables {one.name!r} and {other.name!r}: a file could match both {path!r} and"
                    f" {other_path!r}; change a pattern, or exclude the name that one has from the other"
                )
                raise _WrongError(message)


def _overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether some name fits both patterns, each given as wildcards and single characters."""
    if not one:
        return all(token in _WILDCARDS for token in other)
    head, rest = one[0], one[1:]
    if head == "**/":
        return _overlap(rest, other) or _overlap(("**", "/", *rest), other)
    if head in _WILDCARDS:
        reaches_on = bool(other) and (head, other[0]) != ("*", "/")
        return _overlap(rest, other) or (reaches_on and _overlap(one, other[1:]))
    if other and other[0] in _WILDCARDS:
        return _overlap(other, one)
    return bool(other) and head == other[0] and _overlap(rest, other[1:])


def _tokens(pattern: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(pattern))


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (_WILDCARDS.get(token) or re.escape(token) for token in _tokens(pattern))
    return re.compile("".join(parts), re.DOTALL)
