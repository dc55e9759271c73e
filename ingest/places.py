"""Folders and files, on a disk or in an object store, where a folder is whatever begins with its name."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import Any

from ingest.errors import IngestError

ADDRESS = re.compile(r"s3a://[^/]+/.*[^/]")


def place(text: str) -> Path:
    """Give a folder, or for `s3a://bucket/name` a place in an object store, which is used like one.

    Raises IngestError if it is neither, or what a store takes is not installed.
    """
    if "://" not in text:
        return Path(text)
    if ADDRESS.fullmatch(text := text.rstrip("/")) is None:
        message = f"{text}: wanted a folder, or a place in an S3 store as s3a://bucket/name."
        raise IngestError(message)
    try:
        from upath import UPath
    except ImportError as error:
        message = f"{text}: what an S3 store takes is not installed; run 'make cluster', which installs it."
        raise IngestError(message) from error
    store: Path = UPath(text, use_listings_cache=False)  # Spark writes there too
    return store


def is_on_disk(path: Path) -> bool:
    return isinstance(path, PosixPath)


def store_of(path: Path) -> tuple[Any, str]:
    """Give the file system of fsspec that has a place, and the place's name there."""
    there: Any = path
    return there.fs, there.path


def names_in(folder: Path) -> list[str]:
    """Give the names of what is in a folder, which is nothing if it is not there. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if is_on_disk(folder):
            return [path.name for path in folder.iterdir()]
        store, name = store_of(folder)
        return [key.rpartition("/")[2] for key in store.ls(name, detail=False) if key.rstrip("/") != name]
    return []


def sizes_in(folder: Path) -> dict[str, int]:
    """Give the bytes of all files in a folder and its folders, by their names within it."""
    if is_on_disk(folder):
        return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    store, name = store_of(folder)
    return {key.removeprefix(f"{name}/"): about["size"] for key, about in store.find(name, detail=True).items()}


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there."""
    if not folder.exists():
        return
    if is_on_disk(folder):
        shutil.rmtree(folder)
    else:
        store, name = store_of(folder)
        store.rm(name, recursive=True)


def send(file: Path, to: Path) -> None:
    """Bring a file of this disk into an object store."""
    store, name = store_of(to)
    store.put_file(str(file), name)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, as an object store always does, and have it on disk before going on."""
    if not is_on_disk(path):
        path.write_bytes(content)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def open_file(path: bytes) -> Any:
    """Open a file by its path for reading, or by its address an object of a store. Raises OSError."""
    if path.startswith(b"/"):
        return open(path, "rb")  # noqa: PTH123 - pathlib has no paths of bytes; the caller closes it
    from fsspec import filesystem

    return filesystem("s3a", use_listings_cache=False).open(os.fsdecode(path.partition(b"://")[2]), "rb")
