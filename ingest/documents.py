"""JSON as bytes: where a value ends, and how a `.json` text falls into records.

The grammar is RFC 8259. Limits, and UTF-8 inside strings, are not judged here, so that a bad element of an
array leaves the others alone. Nothing recurses and no value is built: depth and size cost next to no memory.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

Text: TypeAlias = bytes | bytearray

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode

# Repeats have an upper bound, or a hostile text would fill the memory of the regex engine; and no two runs of
# white space stand side by side, or it would take all its time.
_SPACE = rb"[ \t\r\n]*"
_PLAIN = rb'[^"\\\x00-\x1f]*'
_PIECE = rb'%b(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})%b){0,99}' % (_PLAIN, _PLAIN)
_KEY = rb'%b"%b"%b:%b' % (_SPACE, _PIECE, _SPACE, _SPACE)
_NUMBER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_SCALAR = rb'(?:"%b"|%b|true|false|null)' % (_PIECE, _NUMBER)


def _or_container_of(value: bytes) -> bytes:
    """Add small arrays and objects of such values to the pattern of a value."""
    members = rb"(?:%b%b%b(?:,|(?=\}))){1,30}(?<!,)" % (_KEY, value, _SPACE)
    items = rb"(?:%b%b%b(?:,|(?=\]))){1,30}(?<!,)" % (_SPACE, value, _SPACE)
    return rb"(?:%b|\{(?:%b|%b)\}|\[(?:%b|%b)\])" % (_SCALAR, members, _SPACE, items, _SPACE)


_space = re.compile(_SPACE)
_ink = re.compile(rb"[^ \t\r\n]")
_piece = re.compile(_PIECE)
_small_value = re.compile(_or_container_of(_or_container_of(_or_container_of(_SCALAR))))
_more_members = re.compile(rb"(?:%b,%b%b){1,99}" % (_SPACE, _KEY, _SCALAR))
_more_items = re.compile(rb"(?:%b,%b%b){1,99}" % (_SPACE, _SPACE, _SCALAR))


class NotJsonError(ValueError):
    """The text is no JSON value."""


def is_json_value(text: Text) -> bool:
    """Tell whether the text is one complete JSON value in UTF-8, white space around it aside."""
    try:
        return _skip_space(text, _value_end(text, 0)) == len(text) and _is_utf8(text)
    except NotJsonError:
        return False


def is_json_lines(text: Text, start: int, *, is_whole: bool) -> bool | None:
    """Tell whether a `.json` text (from `start` on) is JSON Lines, or None if only more of it will tell.

    It is if its first line that is not blank is one complete JSON value, and not the only one: then the text
    as a whole is no document. A blank text is lines without a record.
    """
    first = _ink.search(text, start)
    if first is None:
        return True if is_whole else None
    end = text.find(b"\n", first.start())
    if end < 0 or not _ink.search(text, end):
        return False if is_whole else None
    return is_json_value(text[first.start() : end])


def document_records(text: Text, start: int) -> list[Text | msgspec.Raw]:
    """Return the texts of the records of a document: the elements of an array, or the one value that is no array.

    Raises NotJsonError if the text from `start` on is not one document.
    """
    try:
        return list(_decode_array(memoryview(text)[start:]))
    except (msgspec.DecodeError, RecursionError):  # no array, no JSON, or what msgspec alone does not take
        return [text[begin:end] for begin, end in document_spans(text, start)]


def document_spans(text: Text, start: int) -> Iterator[tuple[int, int]]:
    """Yield where each element of an array begins and ends, or the one value that is no array.

    Raises NotJsonError, possibly after some elements, if the text from `start` on is not one document.
    """
    at = _skip_space(text, start)
    if text[at : at + 1] == b"[":
        at = _skip_space(text, at + 1)
        mark = text[at : at + 1]
        while mark != b"]":
            end = _value_end(text, at)
            yield at, end
            at = _skip_space(text, end)
            mark = text[at : at + 1]
            if mark == b",":
                at = _skip_space(text, at + 1)
            elif mark != b"]":
                raise NotJsonError
        at += 1
    else:
        end = _value_end(text, at)
        yield at, end
        at = end
    if _skip_space(text, at) != len(text):
        raise NotJsonError


def _is_utf8(text: Text) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for at in range(0, len(text), 1 << 20):
            decoder.decode(text[at : at + (1 << 20)])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _value_end(text: Text, at: int) -> int:
    """Give the offset after the JSON value that begins at `at`, or after the white space there."""
    nesting = bytearray()
    while True:
        at = _skip_space(text, at)
        small = _small_value.match(text, at)
        if small:
            at = small.end()
        elif text[at : at + 1] == b"[":
            nesting += b"["
            at += 1
            continue
        elif text[at : at + 1] == b"{":
            nesting += b"{"
            at = _key_end(text, at + 1)
            continue
        else:
            at = _string_end(text, at)
        while nesting:
            in_object = nesting.endswith(b"{")
            more = (_more_members if in_object else _more_items).match(text, at)
            if more:
                at = more.end()
                continue
            at = _skip_space(text, at)
            mark = text[at : at + 1]
            at += 1
            if mark == b",":
                at = _key_end(text, at) if in_object else at
                break
            if mark != (b"}" if in_object else b"]"):
                raise NotJsonError
            nesting.pop()
        else:
            return at


def _skip_space(text: Text, at: int) -> int:
    space = _space.match(text, at)
    return space.end() if space else at


def _key_end(text: Text, at: int) -> int:
    """Give the offset after a key and its colon."""
    at = _skip_space(text, _string_end(text, _skip_space(text, at)))
    if text[at : at + 1] != b":":
        raise NotJsonError
    return at + 1


def _string_end(text: Text, at: int) -> int:
    """Give the offset after the string at `at`, however many escapes it has."""
    if text[at : at + 1] != b'"':
        raise NotJsonError
    at += 1
    while piece := _piece.match(text, at):
        end = piece.end()
        if text[end : end + 1] == b'"':
            return end + 1
        if end == at:
            break
        at = end
    raise NotJsonError
