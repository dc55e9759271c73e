"""An S3 store of this machine, in memory: for tests, and to see what a store costs before there is one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from deploy.services import Service
from ingest.places import place, store_of

if TYPE_CHECKING:
    from pathlib import Path

PORT, BUCKET = 9000, "fleet"
# Whoever asks the store finds it by these, as they would any other.
ENVIRONMENT = {
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "fleet",
    "AWS_SECRET_ACCESS_KEY": "fleet",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def store() -> Service:
    """Give the store, with one bucket; whoever asks it needs its ENVIRONMENT, this process too."""
    command = (sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(PORT))
    return Service("store", command, PORT, prepare=make_bucket)


def at(name: str) -> Path:
    return place(f"s3a://{BUCKET}/{name}")


def make_bucket() -> None:
    store_of(at("lake"))[0].makedirs(BUCKET, exist_ok=True)


def send_folder(folder: Path, to: Path) -> None:
    """Bring a folder of this disk, with all that is in it, into the store."""
    store, name = store_of(to)
    store.put(f"{folder}/", f"{name}/", recursive=True)
