"""The text of a page, whatever somebody made of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skills.errors import ToolFailed
from skills.tools.markup import text_of

LONG = 2 << 20
"""Characters: as many as a page may have bytes."""


def seen(page: str) -> str:
    return text_of(page, lambda: False)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("one <b>two</b> three", "one two three"),
        ("<p>one</p>two", "\none\ntwo"),
        ("<p>one</p><p>two<br><br/>three", "\none\ntwo\n\nthree"),
        ("a < b &amp;&lt;&#65;&#x42; 5 <6", "a < b &<AB 5 <6"),
        ("&#" + "9" * 5_000 + "; and &#x" + "f" * 5_000 + ";", "\ufffd and \ufffd"),
        ("one<!-- not <b>this --> two<!----> three<!--> four<!-- nor this --!> five", "one two three four five"),
        (
            "<!DOCTYPE html><?xml 1.0?>one<![CDATA[ two ]]> three</> four</ five> six",
            "one three four six",
        ),
        ("one<![foo bar]> two", "one two"),
        ("one <a title='a > b' href=\"c > d\" x = '>'>two</a>", "one two"),
        ("<img alt=it's> one <p'>two", " one two"),
        ("<SCRIPT>if (a < b) '</p><!--';</SCRIPT >one", "one"),
        ("<script>'</scripture>'</script>one<script src=x />two", "onetwo"),
        ("<style>p { color: red }</style>one<svg><g>two</g><svg/></svg>three", "onethree"),
        ("<noscript>no<p>one</p></noscript><template>two<template>three</template>four</template>five", "five"),
        ("<head><title>t</title><script>'</head>'</script></head>one", "one"),
        ("<head><title>t</title><body>one", "one"),
        ("one<!-- without an end", "one"),
        ("one<script>without an end</p>", "one"),
        ("one<a href='without an end> two", "one"),
        ("one<a", "one"),
        ("one<", "one<"),
        ("", ""),
    ],
)
def test_what_a_person_would_see_is_kept_and_nothing_else(page: str, text: str) -> None:
    assert seen(page) == text


_PIECES = [
    "<",
    ">",
    "/",
    "!",
    "--",
    "'",
    '"',
    "=",
    "&",
    "&#",
    ";",
    " ",
    "a",
    "script",
    "</script",
    "svg",
    "]]>",
    "9",
]


@given(st.text() | st.lists(st.sampled_from(_PIECES) | st.text(max_size=2), max_size=60).map("".join))
@example("<![foo bar]>")
def test_nothing_that_anybody_writes_is_an_error(page: str) -> None:
    assert len(seen(page)) <= 2 * len(page)


@pytest.mark.parametrize(
    "piece",
    [
        "<a ",
        "<a href='",
        "<!--",
        "<![",
        "<!",
        "</",
        "<",
        "<script>",
        "<script>'</script",
        "&",
        "&#9",
        "<a = ",
        "<svg>",
    ],
)
def test_no_part_of_a_long_page_is_looked_at_again_for_every_beginning(piece: str) -> None:
    """It would take hours."""
    assert len(seen(piece * (LONG // len(piece)))) <= LONG


def test_a_long_page_is_given_up_when_it_is_stopped() -> None:
    asked = iter([False, False, True])
    with pytest.raises(ToolFailed, match="stopped"):
        text_of("<b>" * LONG, lambda: next(asked))
