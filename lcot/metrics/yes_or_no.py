"""Whether an output concludes with yes or with no."""

from __future__ import annotations

import re

from lcot.metrics.boxed import box, readable
from lcot.metrics.choices import straight, words

# A "no" that belongs to a noun or an adverb (no one, no longer, no evidence, No. 5) is followed by it on its line, an
# answer by nothing but a word that opens or continues a clause.
_OPENS_CLAUSE = words(
    "it he she they you we i this that these those there the a an because since as and but for to so is not if due"
    " based given its his her their"
)
_WORD = (
    r"(?<![\w-])(?<!\w')(?P<word>yes|no)(?!['-]?\w)"
    rf"(?:(?<=yes)|(?<=no)(?![ \t]+(?!{_OPENS_CLAUSE})\w)(?!\.?[ \t]*\d))"
)
_ON_ITS_OWN = re.compile(_WORD, re.IGNORECASE)
_BOTH = re.compile(
    r"\b(?:either\s+)?[`\"'*(]*(?:yes|no)[`\"'*]*(?:\s*/\s*|,?\s+(?:or|and|nor)\s+)[`\"'*]*(?:yes|no)\b[`\"'*)]*",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"(?:\b(?:not|never|cannot be)|n't)\s+(?:a\s+|simply\s+)?[`\"'*]*(?:yes|no)\b", re.IGNORECASE)
_CALLED = re.compile(
    words("answer answers ans conclusion verdict")
    + r"\.?(?:[\s:=>,\"'*_`?($\[{\\-]|"
    + words(
        "is are be was would will should must has to the this that it question your above therefore thus hence then so"
        " indeed clearly obviously definitely likely probably most simply final answer text textbf boxed a an"
    )
    + "){0,16}"
    + _WORD,
    re.IGNORECASE,
)
_OPENS_SENTENCE = re.compile(r"(?:^|[.!?:;\n])[\s\"'*_`(#>-]{0,12}" + _WORD, re.IGNORECASE)
# Takes the place of what is passed over, so that the words around it do not come to touch.
_GONE = "\x00"


def yes_no(text: str, marker: str) -> str | None:
    """Yes or no, whichever an output concludes with.

    Args:
        text: What the model wrote.
        marker: What stands before an answer, if anything does.

    Returns:
        ``yes`` or ``no``: that of the last box; else the one right behind the last marker; else the last one that is
        called the answer (*the answer is: no*); else the last one that opens a sentence (*No, since …*); else the last
        one on its own. Passed over are both at once (*yes or no*, *yes/no*), negated ones (*not yes*), and a *no* that
        belongs to the next word (*no one*, *no longer*, *no evidence*, *No. 5*). ``None`` if none is left.
    """
    text = straight(text)
    inside = box(text)
    if inside is not None and (found := yes_no_meaning(readable(inside))):
        return found
    left = _NEGATED.sub(_GONE, _BOTH.sub(_GONE, text))
    _, marked, behind = left.rpartition(marker)
    opening = _ON_ITS_OWN.match(behind.lstrip(" \t\n\"'*_`([")) if marked else None
    if opening is not None:
        return opening["word"].lower()
    for pattern in (_CALLED, _OPENS_SENTENCE, _ON_ITS_OWN):
        hits = list(pattern.finditer(left))
        if hits:
            return hits[-1]["word"].lower()
    return None


def yes_no_meaning(answer: str) -> str | None:
    """``yes`` or ``no`` if an answer is that word, whatever its case and the marks around it."""
    word = answer.strip(" \t\n.,!;:*_`\"'()[]").casefold()
    return word if word in ("yes", "no") else None
