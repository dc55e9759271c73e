"""Whole files of every odd layout: bronze has just their records, and their bytes can be made again from it."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING, Any

from ingest.manifest import read_manifest
from tests.integration.lakes import read_table, records_of_bronze
from tests.integration.worker import run_process
from tests.reference import RawTree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingest.versions import FileVersion

MARK = b"\xef\xbb\xbf"
A, B = b'{"event_id":"a"}', b'{"event_id":"b"}'
LINES = {
    "one": A,
    "ended": A + b"\n",
    "two": A + b"\n" + B,
    "windows": A + b"\r\n" + B + b"\r\n",
    "mixed_ends": A + b"\n" + B + b"\r\n" + A + b" \n",
    "old_mac": A + b"\r" + B + b"\r\n",
    "cr_before_the_end": A + b"\r\r\n" + B + b"\n",
    "mark": MARK + A + b"\n",
    "mark_twice": MARK + MARK + A + b"\n",
    "mark_in_the_middle": A + b"\n" + MARK + B + b"\n",
    "mark_only": MARK,
    "empty": b"",
    "blank": b"\n\n \t\r\n \n",
    "blank_between": A + b"\n\n \t \n" + B + b"\n\n",
    "blank_at_the_end": A + b"\n   ",
    "concatenated": A + B + b"\n" + B,
    "cut_off": A + b"\n" + B[:-3],
    "cut_in_a_character": A + b"\n" + b'{"event_id":"\xc3',
    "latin_1": b'{"event_id":"caf\xe9"}\n' + A,
    "nul_inside": A + b"\n\x00\n" + b'{"event_id":"\x00"}\n',
    "form_feeds": b"\x0c\n\x0b\n\xc2\x85\n\xe2\x80\xa8\n",
    "tabs": b"1\t2\tB\t" + A + b"\n\t" + B + b"\t\n",
    "array_on_a_line": b"[" + A + b"," + B + b"]\n[]\n",
    "pretty_as_lines": b'{\n  "event_id": "a"\n}\n',
    "csv": b"event_id;driver_id\na;1\n",
    "long_lines": b"\n".join(b'{"event_id":"%b"}' % (b"x" * size) for size in (65_519, 65_520, 65_521, 99_999)),
}
DOCUMENTS = {
    "array": b"[" + A + b"," + B + b"]",
    "pretty": b'[\n  {\n    "event_id": "a"\n  },\r\n  ' + B + b"\n]\n",
    "marked": MARK + b" [ " + A + b" ] ",
    "nested": b"[[" + A + b'],[[]],null,1,-0.0,"x",{}]\n',
    "no_elements": b"[ \n ]\n",
    "one_object": b'{\n"event_id":"a"\n}\n',
    "bad_element": b'[{"event_id":"\xff"},' + A + b"]",
    "trailing_comma": b"[" + A + b",]\n",
    "trailing_text": b"[" + A + b"] x\n",
    "two_documents": b"[1,\n2]\n[3]\n",
    "lines_after_all": A + b"\n" + B + b"\n" + b"not json\n",
    "empty": b"",
    "blank": b" \n",
    "a_scalar": b"7\n",
    "not_json": b"hello\n",
}
UNUSABLE = {
    "utf_16.jsonl": A.decode().encode("utf-16"),
    "utf_16_unmarked.jsonl": A.decode().encode("utf-16-le"),
    "utf_32.jsonl": A.decode().encode("utf-32"),
    "empty.jsonl.gz": b"",
    "cut.jsonl.gz": gzip.compress(A * 99)[:-5],
    "corrupt.jsonl.gz": gzip.compress(A)[:-6] + b"\0\0\0\0\0\0",
    "tail.jsonl.gz": gzip.compress(A) + b"garbage",
    "bomb.jsonl.gz": gzip.compress(b"x" * (4 << 20)),
}


def corpus() -> dict[str, bytes]:
    """Give all usable files by name: each of lines plainly, packed, and packed in two parts with padding."""
    files = {f"{name}.jsonl": data for name, data in LINES.items()}
    files |= {f"{name}.json": data for name, data in DOCUMENTS.items()}
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in files.items()}
    half = {
        f"parts/{name}": gzip.compress(data[: len(data) // 2], mtime=0)
        + gzip.compress(data[len(data) // 2 :], mtime=0) + bytes(9)
        for name, data in files.items()
    }  # fmt: skip
    return files | packed | half


def test_every_layout_gives_its_records_and_can_be_made_again(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    (raw / "companies.jsonl").write_bytes(b'{"company_id":"c"}\n')
    for name, data in (corpus() | UNUSABLE).items():
        (raw / "events" / name).parent.mkdir(exist_ok=True)
        (raw / "events" / name).write_bytes(data)
    load(max_record_bytes=99_999, max_file_bytes=2 << 20)
    rows = read_table(lake, "bronze.source_files")
    (loaded_at,) = {row["_loaded_at"] for row in rows}
    assert {row["_source_file"] for row in rows if row["status"] == "failed"} == {f"events/{n}" for n in UNUSABLE}
    for name in UNUSABLE:
        (raw / "events" / name).unlink()
    undisturbed = RawTree(raw).load(load_id=1, loaded_at=loaded_at)
    bronze = records_of_bronze(lake)
    cut = {record.source_file for record in bronze["driver_events"] if len(record.raw) == 64 << 10}
    assert sorted(repr(record) for record in bronze["driver_events"] if record.source_file not in cut) == sorted(
        repr(record) for record in undisturbed["driver_events"] if record.source_file not in cut
    )
    texts: dict[str, dict[int, bytes]] = {}
    for record in (*bronze["driver_events"], *bronze["companies"]):
        texts.setdefault(record.source_file, {})[record.source_line] = record.raw
    manifest = read_manifest(next((lake / "manifests").iterdir()))
    made_again = 0
    for version in manifest.versions:
        if version.status == "loaded" and version.layout == "lines" and version.source_file not in cut:
            data = (raw / version.source_file).read_bytes()
            text = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
            assert rebuilt(version, texts.get(version.source_file, {})) == reduced(text), version.source_file
            assert version.source_file_id == hashlib.sha256(data).hexdigest()
            assert version.has_bom == text.startswith(MARK)
            made_again += 1
    assert made_again >= 2 * len(LINES)
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(lake), "--raw", str(raw))
    assert result.returncode == 0, result.stdout


def rebuilt(version: FileVersion, texts: dict[int, bytes]) -> bytes:
    lines = [texts.get(number, b"") for number in range(1, version.lines + 1)]
    return b"\n".join(lines) + (b"\n" if lines and version.open_line_at is None else b"")


def reduced(text: bytes) -> bytes:
    """Take off what bronze does not have: a mark, carriage returns at line ends, and what blank lines are made of."""
    lines = text.removeprefix(MARK).replace(b"\r\n", b"\n").split(b"\n")
    return b"\n".join(line if line.strip(b" \t\r") else b"" for line in lines)
