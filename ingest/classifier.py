"""From staged lines to bronze rows: one SQL expression tree, one JSON parse a record, no Python on the workers.

The idea: a record whose last brace is replaced by `,"<nonce>":1}` parses into a map with the nonce as a key exactly
if the record was one JSON object and nothing else. The map's keys then tell duplicates and unknown keys, its values
are the declared columns. The nonce is random for each load, so that no record can contain it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from pyspark.sql import Column, DataFrame, SparkSession

    from ingest.feeds import Feed

STRICT = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
MAX_DIGITS = 1000
SURROGATE = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
SURROGATE_PAIR = r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"


def bronze_rows(
    spark: SparkSession,
    bundles: Sequence[Path],
    files: DataFrame,
    *,
    feed: Feed,
    load_id: int,
    loaded_at: datetime,
) -> DataFrame:
    """Read a load's bundles of one feed into rows with the columns of its bronze table.

    A bundle's line is `file number TAB line number TAB kind TAB record`; `files` has the columns `file_number`,
    `_source_file` and `_source_file_id`.
    """
    nonce = f"n{secrets.token_hex(16)}"
    staged = spark.read.text([str(bundle) for bundle in bundles], lineSep="\n")
    sound = F.col("_defect").isNull()
    known_keys = F.array(*(F.lit(key) for key in (*feed.keys, nonce)))
    return (
        _judged(_decoded(staged), nonce)
        .join(F.broadcast(files), "file_number", "left")
        .select(
            *(F.when(sound, F.col("object")[key]).alias(key) for key in feed.keys),
            F.col("raw").alias("_raw"),
            F.when(~F.col("is_utf8"), F.col("bytes")).alias("_raw_bytes"),
            "_defect",
            F.when(sound, F.array_except(F.map_keys("object"), known_keys)).alias("_unknown_keys"),
            "_source_file",
            F.col("line").alias("_source_line"),
            "_source_file_id",
            F.lit(load_id).cast("bigint").alias("_load_id"),
            F.lit(loaded_at).alias("_loaded_at"),
        )
    )


def _decoded(staged: DataFrame) -> DataFrame:
    """Cut the prefix off the bytes, since a record need not be a valid string, and decode both."""
    prefix = F.split(F.substring_index("value", "\t", 3), "\t")
    record = F.expr(r"substring(cast(value as binary), length(substring_index(value, '\t', 3)) + 2)")
    return (
        staged.select(
            prefix[0].cast("int").alias("file_number"),
            prefix[1].cast("bigint").alias("line"),
            prefix[2].alias("kind"),
            F.when(prefix[2] == "", record).otherwise(F.unbase64(record.cast("string"))).alias("bytes"),
        )
        .withColumn("raw", F.decode("bytes", "UTF-8"))
        .withColumn("is_utf8", F.col("raw").cast("binary") == F.col("bytes"))
    )


def _judged(decoded: DataFrame, nonce: str) -> DataFrame:
    """Add `object`, the record's keys and values as a map (NULL unless it is one object), and `_defect`."""
    readable = F.when((F.col("kind") != "L") & F.col("is_utf8"), F.col("raw"))
    text = F.col("text")
    is_braced = _is_in(text, "{}")
    return (
        decoded.withColumn("text", _without_lone_surrogates(readable, nonce))
        .withColumn("text", F.when(is_braced, text).otherwise(F.expr(r"trim(both ' \t\r\n' from text)")))
        # A column of its own: within the next one Spark would parse once for the condition and once for the value.
        .withColumn("parsed", F.when(is_braced, _parsed(text, nonce)))
        .withColumn("object", F.when(F.col("parsed")[nonce].isNotNull(), F.col("parsed")))
        .withColumn("_defect", _defect(text, F.col("object"), nonce))
    )


def _defect(text: Column, parsed: Column, nonce: str) -> Column:
    keys = F.map_keys(parsed)
    is_other_value = _is_array(text, nonce) | _is_scalar(text, nonce)
    return (
        F.when(F.col("kind") == "L", "too_long")
        .when(~F.col("is_utf8"), "invalid_utf8")
        .when((F.octet_length(text) > MAX_DIGITS) & _has_long_number(text), "not_json")
        .when(parsed.isNull(), F.when(is_other_value, "not_object").otherwise("not_json"))
        .when(F.size(F.array_distinct(keys)) != F.size(keys), "duplicate_key")
    )


def _is_in(text: Column, brackets: str) -> Column:
    return text.startswith(brackets[0]) & text.endswith(brackets[1])


def _parsed(text: Column, nonce: str) -> Column:
    return F.coalesce(
        F.from_json(_completed(text, f',"{nonce}":1}}'), "map<string,string>", STRICT),
        F.when(text.rlike(r"^\{[ \t\r\n]*\}\z"), F.create_map(F.lit(nonce), F.lit("1"))),
    )


def _is_array(text: Column, nonce: str) -> Column:
    elements = F.from_json(_completed(text, f',"{nonce}"]'), "array<string>", STRICT)
    is_complete = F.element_at(elements, -1).eqNullSafe(nonce) | text.rlike(r"^\[[ \t\r\n]*\]\z")
    return _is_in(text, "[]") & is_complete


def _is_scalar(text: Column, nonce: str) -> Column:
    """Tell whether the text is one value: as the value of a key it leaves room for exactly one key more."""
    wrapped = F.concat(F.lit('{"v":'), text, F.lit(f',"{nonce}":1}}'))
    parsed = F.from_json(wrapped, "map<string,string>", STRICT)
    return parsed[nonce].isNotNull() & (F.size(parsed) == len(("v", nonce)))


def _completed(text: Column, end: str) -> Column:
    """Put `end` in place of the last character, a bracket, so that nothing nests deeper; bytes need no counting."""
    beginning = text.cast("binary").substr(F.lit(1), F.octet_length(text) - 1)
    return F.concat(beginning, F.lit(end).cast("binary")).cast("string")


def _has_long_number(text: Column) -> Column:
    """Look for a number of too many digits outside strings, by steps that need no backtracking."""
    unescaped = F.regexp_replace(text, r"(?s)\\.", "")
    without_strings = F.regexp_replace(unescaped, '"[^"]*+"', '""')
    return without_strings.rlike(f"([0-9][.eE+-]{{0,2}}){{{MAX_DIGITS + 1}}}")


def _without_lone_surrogates(text: Column, nonce: str) -> Column:
    r"""Read an unpaired surrogate as `?`, once `\\` and the pairs are set aside; no step needs backtracking."""
    set_aside = F.replace(text, F.lit(r"\\"), F.lit(f"{nonce}b"))
    set_aside = F.regexp_replace(set_aside, SURROGATE_PAIR, f"{nonce}u$1{nonce}u$2")
    mended = F.regexp_replace(set_aside, SURROGATE, "?")
    restored = F.replace(F.replace(mended, F.lit(f"{nonce}u"), F.lit(r"\u")), F.lit(f"{nonce}b"), F.lit(r"\\"))
    return F.when(text.contains(r"\u") & text.rlike(SURROGATE), restored).otherwise(text)
