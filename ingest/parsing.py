"""Records to columns of bronze: strict JSON, as RFC 8259 has it, judged once.

Two ways lead to the same columns. The fast one lets msgspec find the declared values, and takes a record only if these
values and their keys account for every byte of it. All others take the exact one, by the standard library's parser.
"""

from __future__ import annotations

import json
import re
import sys
from json.encoder import encode_basestring
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

MAX_LEVELS = MAX_DIGITS = 1_000
EXACT_BATCHES = 7
MOST_POINTS = 1 << 18
_ABSENT = msgspec.Raw(b"")
_LONG_NUMBER = b"0" * (MAX_DIGITS + 1)
_DIGITS_AS_ZERO = bytes(ord("0") if chr(byte) in "0123456789.eE+-" else byte for byte in range(256))
_NUMBER_OVER_LIMIT = re.compile(rf"(?:[0-9](?:\.|[eE][+-]?)?){{{MAX_DIGITS + 1}}}")
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_IS_DIGIT, _IS_SPACE_OR_ESCAPE, _IS_EXPONENT = (
    np.isin(np.arange(256), list(bytes_)) for bytes_ in (b"0123456789", b" \t\r\n\\", b"eE")
)
_PLAIN_DIGITS, _PLAIN_DECIMALS = 9, 6  # a number with fewer digits before the point and no more after it may be plain

sys.setrecursionlimit(10_000)  # a record may nest 1,000 levels, and rendering takes several calls a level


class Columns(NamedTuple):
    """A batch of records as columns of bronze, each with a row for each record."""

    declared: list[pa.Array]
    raw: pa.Array
    raw_bytes: pa.Array
    defect: pa.Array
    unknown_keys: pa.Array


class RecordParser:
    """Judges batches of records of one feed."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the declared keys, which become the first columns."""
        self._keys = tuple(keys)
        # msgspec takes no other keys; a record that has one is left to the exact way.
        self._plain_keys = [key for key in keys if encode_basestring(key) == f'"{key}"']
        names = [f"key_{number}" for number in range(len(self._plain_keys))]
        fields = [(name, msgspec.Raw, _ABSENT) for name in names]
        row = msgspec.defstruct("Row", fields, rename=dict(zip(names, self._plain_keys, strict=True)), gc=False)
        self._decode = msgspec.json.Decoder(row).decode
        self._nothing = row()
        self._values_of = [attrgetter(name) for name in names]
        self._key_bytes = [len(key.encode()) + len('"":,') for key in self._plain_keys]
        self._exact_batches = 0

    def columns(self, records: Sequence[bytes], too_long: Collection[int] = ()) -> Columns:
        """Return the columns of these records; those at the places `too_long` are the first bytes of longer ones."""
        data = b"".join(records)
        is_ascii = data.isascii()
        not_utf8 = {} if is_ascii else {i: record for i, record in enumerate(records) if not _is_utf8(record)}
        found, doubtful = self._found(records, not_utf8.keys() | set(too_long))
        judged = {i: ("too_long", {}) if i in too_long else judge(records[i]) for i in sorted(doubtful)}
        texts = records
        if not_utf8:
            texts = [
                record.decode(errors="replace").encode() if i in not_utf8 else record
                for i, record in enumerate(records)
            ]
            data = b"".join(texts)
        nothing = _Texts([b""] * len(records))
        return Columns(
            [
                _values(found.get(key, nothing), {i: fields.get(key) for i, (_, fields) in judged.items()})
                for key in self._keys
            ],
            _strings(data, _offsets(texts)),
            _patched(pa.nulls(len(records), pa.binary()), not_utf8),
            _patched(pa.nulls(len(records), pa.string()), {i: defect for i, (defect, _) in judged.items()}),
            self._unknown_keys(len(records), judged),
        )

    def _found(self, records: Sequence[bytes], doubtful: set[int]) -> tuple[dict[str, _Texts], set[int]]:
        """Return the texts of the values by key, and the places of the records for which they do not vouch."""
        if self._exact_batches:  # where most records are odd, the fast way is a detour
            self._exact_batches -= 1
            return {}, set(range(len(records)))
        rows: list[Any] = []
        waiting = iter(records)
        while len(rows) < len(records):
            try:
                rows.extend(map(self._decode, waiting))
            except (msgspec.DecodeError, RecursionError):  # what was decoded before stays
                doubtful.add(len(rows))
                rows.append(self._nothing)
        found = [_Texts(list(map(value_of, rows))) for value_of in self._values_of]
        doubtful |= self._unaccounted(records, rows, found)
        if len(doubtful) > len(records) / 2:
            self._exact_batches = EXACT_BATCHES
        return dict(zip(self._plain_keys, found, strict=True)), doubtful

    def _unaccounted(self, records: Sequence[bytes], rows: Sequence[Any], found: Sequence[_Texts]) -> set[int]:
        """Find the records that hold more than their declared values, or more than the limits allow.

        A record without white space is as long as its keys and values; any other has as many quotes as they have.
        """
        lengths = np.fromiter(map(len, records), np.int64, len(records))
        told = np.ones(len(records), np.int64)
        for texts, key_bytes in zip(found, self._key_bytes, strict=True):
            sizes = np.diff(texts.offsets) - 1
            told += sizes + (sizes > 0) * key_bytes
        unaccounted = {i for i in np.flatnonzero(lengths > MAX_DIGITS).tolist() if not _is_tame(records[i])}
        for i in np.flatnonzero(told != lengths).tolist():
            values = [value for value_of in self._values_of if len(value := value_of(rows[i]))]
            if records[i].count(b'"') != 2 * len(values) + b"".join(values).count(b'"'):
                unaccounted.add(i)
        return unaccounted

    def _unknown_keys(self, count: int, judged: Mapping[int, tuple[str | None, dict[str, str | None]]]) -> pa.Array:
        sizes, is_null = np.zeros(count, np.int32), np.zeros(count, bool)
        names: list[str] = []
        for i, (defect, fields) in judged.items():
            others = [key for key in fields if key not in self._keys]
            is_null[i], sizes[i] = defect is not None, len(others)
            names += others
        offsets = np.concatenate((np.zeros(1, np.int32), np.cumsum(sizes, dtype=np.int32)))
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(names, pa.string()), mask=pa.array(is_null))


class _Texts:
    """JSON texts one after the other, each with a NUL after it, which no JSON has in it, and where each begins."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.data = b"\0".join([*values, b""])
        self.bytes = np.frombuffer(self.data, np.uint8)
        self.offsets = np.zeros(len(values) + 1, np.int32)
        self.offsets[1:] = np.flatnonzero(self.bytes == 0) + 1

    def __getitem__(self, i: int) -> bytes:
        return self.data[self.offsets[i] : self.offsets[i + 1] - 1]


def _values(texts: _Texts, patches: dict[int, str | None]) -> pa.Array:
    """Turn JSON texts into what bronze keeps of them, but for the rows that have another value."""
    first = texts.bytes[texts.offsets[:-1]]
    is_string = first == ord('"')
    column = _strings(texts.data, texts.offsets, (first != 0) & (first != ord("n")))
    column = pc.ascii_trim(column, '"\0')
    own = dict(patches)
    if b"\\" in texts.data:
        at = np.searchsorted(texts.offsets, np.flatnonzero(texts.bytes == ord("\\")), side="right") - 1
        own |= {i: json.loads(texts[i]) for i in np.unique(at[is_string[at]]).tolist() if i not in patches}
    is_other = ~(is_string | np.isin(first, np.frombuffer(b"\0ntf", np.uint8)))
    if is_other.any():
        at = np.unique(np.searchsorted(texts.offsets, _odd_places(texts.bytes), side="right") - 1)
        own |= {i: canonical(_EXACT.decode(texts[i].decode())) for i in at[is_other[at]].tolist() if i not in patches}
    return _patched(column, dict(sorted(own.items())))


def _odd_places(text: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find where sound JSON values may not be in the canonical notation: at all places where one is not, and at others.

    That is at white space, an escape or an exponent, and at the point of a number that Python may write otherwise.
    """
    is_digit = _IS_DIGIT[text]
    exponents = np.flatnonzero(_IS_EXPONENT[text[1:]] & is_digit[:-1])
    others = np.concatenate((np.flatnonzero(_IS_SPACE_OR_ESCAPE[text]), exponents))
    points = np.flatnonzero(text == ord("."))
    if len(points) > MOST_POINTS:  # what follows takes a hundred times their memory
        return np.concatenate((others, points))
    after = is_digit[np.minimum(points[:, None] + np.arange(1, _PLAIN_DECIMALS + 2), len(text) - 1)]
    decimals = np.cumprod(after, axis=1).sum(axis=1)
    last = text[points + decimals]
    is_tiny = (text[np.minimum(points[:, None] + np.arange(1, 5), len(text) - 1)] == ord("0")).all(axis=1)
    is_long = is_digit[np.maximum(points - _PLAIN_DIGITS, 0)] | (decimals > _PLAIN_DECIMALS)
    is_odd_number = is_long | is_tiny | ((decimals > 1) & (last == ord("0")))
    return np.concatenate((others, points[is_odd_number]))


def _strings(data: bytes, offsets: NDArray[np.int32], is_valid: NDArray[np.bool_] | None = None) -> pa.Array:
    valid = None if is_valid is None else pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [valid, pa.py_buffer(offsets), pa.py_buffer(data)])


def _offsets(texts: Sequence[bytes]) -> NDArray[np.int32]:
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, texts), np.int32, len(texts)), out=offsets[1:])
    return offsets


def _patched(column: pa.Array, patches: Mapping[int, object]) -> pa.Array:
    """Put other values, by row and in order, into a column."""
    if not patches:
        return column
    mask = np.zeros(len(column), bool)
    mask[list(patches)] = True
    return pc.replace_with_mask(column, pa.array(mask), pa.array(list(patches.values()), column.type))


def _is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_tame(record: bytes) -> bool:
    """Tell quickly whether a record is certain to be within the limits."""
    levels = record.count(b"[") + record.count(b"{")
    return levels <= MAX_LEVELS and _LONG_NUMBER not in record.translate(_DIGITS_AS_ZERO)


# The exact way


class _Number(str):
    """A JSON number in its canonical notation."""

    __slots__ = ()


def _float(text: str) -> _Number:
    value = float(text)
    return _Number(text if abs(value) == float("inf") else repr(value))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


# An object is a tuple of pairs, so that repeated keys are seen; an array is a list.
_EXACT = json.JSONDecoder(object_pairs_hook=tuple, parse_int=_Number, parse_float=_float, parse_constant=_refuse)
_CONSTANTS = {None: "null", True: "true", False: "false"}


def judge(record: bytes) -> tuple[str | None, dict[str, str | None]]:
    """Return the first defect of a record, or None and what bronze keeps of the value of each key."""
    try:
        text = record.decode()
    except UnicodeDecodeError:
        return "invalid_utf8", {}
    if not _is_within_limits(text):
        return "not_json", {}
    try:
        value = _EXACT.decode(text)
    except (ValueError, RecursionError):
        return "not_json", {}
    if not isinstance(value, tuple):
        return "not_object", {}
    fields = {_sound(key): kept(member) for key, member in value}
    return ("duplicate_key", {}) if len(fields) < len(value) else (None, fields)


def kept(value: object) -> str | None:
    """Return what a column keeps of a parsed value: the content of a string, the canonical text of any other."""
    return None if value is None else canonical(value) if type(value) is not str else _sound(value)


def canonical(value: object) -> str:
    """Render a parsed value without white space, keys in their order, integers as written, others as Python does."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, str):
        return encode_basestring(_sound(value))
    if isinstance(value, tuple):
        return "{" + ",".join(f"{encode_basestring(_sound(key))}:{canonical(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return _CONSTANTS[value]  # type: ignore[index]


def _sound(text: str) -> str:
    """Read an unpaired surrogate as `?`."""
    return text if text.isascii() else _SURROGATE.sub("?", text)


def _is_within_limits(text: str) -> bool:
    if len(text) <= min(MAX_LEVELS, MAX_DIGITS):
        return True
    bare = _STRING.sub("", text)
    level = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest <= MAX_LEVELS and not _NUMBER_OVER_LIMIT.search(bare)
