"""Where JSON values end, judged by Python's own parser."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.documents import NotJsonError, document_spans, is_json_lines, is_json_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner),
    max_leaves=60,
)
DEEP = 100_000


def elements(text: bytes) -> list[bytes]:
    return [text[begin:end] for begin, end in document_spans(text, 0)]


def is_json(text: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text.decode(), parse_constant=refuse, parse_int=str)
    except ValueError:
        return False
    return True


@given(value=JSON, indent=st.sampled_from([None, 0, 2, "\t"]), is_ascii=st.booleans())
def test_every_json_text_is_a_value(value: object, indent: int | str | None, *, is_ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=is_ascii).encode()
    assert is_json_value(b" \r\n\t" + text + b"\n")
    assert [json.loads(element) for element in elements(text)] == (value if isinstance(value, list) else [value])


@given(JSON, st.data())
def test_a_damaged_text_is_a_value_just_where_python_says_so(value: object, data: st.DataObject) -> None:
    text = json.dumps(value).encode()
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.sampled_from([b"", b'"', b",", b":", b"]", b"}", b"[", b"0", b".", b"\\", b"\n", b"\xff"]))
    damaged = text[:at] + damage + text[at + data.draw(st.integers(0, 2)) :]
    assert is_json_value(damaged) == is_json(damaged)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"NaN",
        b"-Infinity",
        b"01",
        b"+1",
        b"1.",
        b".5",
        b"1e",
        b"0x1",
        b"'a'",
        b"{a:1}",
        b"[1,]",
        b"[,1]",
        b'{"a":1,}',
        b'{"a":1 , }',
        b'{"a"}',
        b'{"a":}',
        b"[1 2]",
        b"[}",
        b'{"a":1]',
        b"{}{}",
        b"[] x",
        b"tru",
        b"nullnull",
        b'"\t"',
        b'"\\x"',
        b'"\\u12g4"',
        b'"open',
        b'"\\"',
        b"\xef\xbb\xbf1",
        b"\x0c1",
        b"\xc2\xa01",
        b'"\xff"',
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b"/**/1",
    ],
)
def test_what_is_not_strict_json_is_no_value(text: bytes) -> None:
    assert not is_json(text)
    assert not is_json_value(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP + b"[ ]" + b"}" * DEEP,
        b'"' + b"\\n" * DEEP + b'"',
        b'{"' + b"\\u00e9" * DEEP + b'":1}',
        b"[" + b"1 ," * DEEP + b"{ }]",
        b'{"a":0' + b',"b":{"c":"d"}' * DEEP + b"}",
        b"9" * DEEP,
    ],
)
def test_depth_and_size_are_no_matter(text: bytes) -> None:
    assert is_json_value(text)
    assert not is_json_value(text[:-1]) or text.isdigit()


@pytest.mark.parametrize(
    "text", [b"{" + b" " * DEEP, b'[1,"a"' + b" " * DEEP + b"x", (b"[1" + b" " * 300) * 300, b'["' + b"\\n" * DEEP]
)
def test_hostile_texts_take_no_longer_than_others(text: bytes) -> None:
    started = time.perf_counter()
    assert not is_json_value(text)
    assert time.perf_counter() - started < 1


def test_an_array_falls_into_the_exact_texts_of_its_elements() -> None:
    text = b' [ {"a": [1, "]"]} ,\n"\xff,",1.50,[\n] ]\n'
    assert elements(text) == [b'{"a": [1, "]"]}', b'"\xff,"', b"1.50", b"[\n]"]
    assert elements(b" [ ] ") == []


@pytest.mark.parametrize("text", [b' {"a": [1]}\n', b' "[]"\n', b" 1\n"])
def test_any_other_document_is_one_record(text: bytes) -> None:
    assert elements(text) == [text.strip()]


@pytest.mark.parametrize("text", [b"", b"[1,2", b"[1,2]]", b"[1,,2]", b"[1,2,]", b"1 2", b"[1]\n[2]"])
def test_a_text_that_is_not_one_document_is_refused(text: bytes) -> None:
    with pytest.raises(NotJsonError):
        elements(text)


@pytest.mark.parametrize(
    ("text", "is_whole", "is_lines"),
    [
        (b'{"a":1}\n{"a"', False, True),
        (b"\n \n 1 \n x", False, True),
        (b'{"a":1}\n', False, None),
        (b'{"a":1}', False, None),
        (b'{"a":1}\n', True, False),
        (b'{"a":1}', True, False),
        (b"[1]\n\n[2]", True, True),
        (b"[1,\n2]", False, False),
        (b'{"a":\n', True, False),
        (b"oops\n1\n", True, False),
        (b"", False, None),
        (b" \n", False, None),
        (b" \n", True, True),
    ],
)
def test_json_lines_are_told_by_their_first_line(text: bytes, *, is_whole: bool, is_lines: bool | None) -> None:
    assert is_json_lines(text, 0, is_whole=is_whole) is is_lines
