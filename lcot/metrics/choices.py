r"""Which option an output settles on, by its letter.

A letter is told from the same one within prose by what stands around it, in the order of how plainly it is meant: what
is in a box, what follows the answer marker, what a sentence calls the answer, what is set off from its text. A later
mention does not overrule a plainer one ("\boxed{B} … (C) would be too much" is B); of equally plain ones the last
counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lcot.metrics.boxed import box, readable

# Left and right quotes, hyphens and dashes, arrows.
_MARKS = str.maketrans("\u2018\u2019\u201c\u201d\u2010\u2011\u2013\u2014\u2192\u21d2", "''\"\"---->>")


def straight(text: str) -> str:
    """A text with straight quotes, plain hyphens and arrows, character by character."""
    return text.translate(_MARKS)


def words(listed: str) -> str:
    """A pattern for any of the words."""
    return rf"\b(?:{'|'.join(listed.split())})\b"


_CLOSED = r"[)\]}*_`\"']{0,3}"
# A letter on its own: not in a word, an abbreviation (e.g., B.C.) or a name with a hyphen (A-level).
_LETTER = r"(?<![\w.\\-])(?<!\w')(?P<letter>[A-Fa-f])(?!['.-]?\w)"
# … nor one of several …
_ALONE = rf"(?!{_CLOSED}\s*(?:,?\s*{words('or and nor')}|[,/&])\s*(?:option\s+)?[(\[{{*_`\"']{{0,3}}[A-Fa-f](?!\w))"
# … nor one that is refused.
_REFUSED = re.compile(
    rf"{_CLOSED}\s*(?:{words('is was are can could would does must will has be')}\s*)?"
    rf"(?:n't|{words('not cannot never wrong incorrect false too out eliminated excluded ruled')})",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    rf"(?:n't|{words('not nor neither except than eliminate eliminates exclude excludes')})"
    r"\s+(?:(?:option|choice)\s+)?[(\[{*_`\"']{0,3}$",
    re.IGNORECASE,
)
# What may follow an "a" that is no article.
_NO_NOUN = re.compile(rf"\s*(?:$|[^\w\s]|\d)|\s+{words('because since as which with and per from by is was so if')}")

_BETWEEN = (
    r"(?:[\s:=>,\"'*_`($\[{\\-]|"
    + words(
        "is are be was would will should must has to the this that it here now question therefore thus hence then so"
        " indeed clearly obviously definitely likely probably correct right best final most option choice letter answer"
        " text textbf mathrm boxed"
    )
    + "){0,16}"
)
_IT = rf"{_BETWEEN}{_LETTER}{_ALONE}"
_CALLED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{words('answer answers ans')}\.?{_IT}",
        rf"{words('correct right best final')}\s+{words('option choice letter one')}{_IT}",
        rf"(?<!not )(?<!n't )(?:{words('choose chose pick select')}|\b(?:go|going|went) with\b|\bopt for\b){_IT}",
        rf"{_LETTER}{_CLOSED}\s+(?:is|must be|would be|seems|has to be)\s+(?:(?:thus|therefore|clearly|indeed)\s+)?"
        r"(?:the\s+)?(?:only\s+|most\s+)?(?:correct|right|answer|best)\b",
    )
)
_SET_OFF = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![\w)])[(\[](?P<letter>[A-Fa-f])[)\]]",
        r"^[\s*_#>-]*(?P<letter>[A-F])[.):](?=\s|\*|$)",
        r"\*\*(?P<letter>[A-F])\*\*",
        r"\b(?:[Oo]ption|OPTION|[Cc]hoice|CHOICE)\s+(?P<letter>[A-F])(?![\w'])",
        r"(?:\bis|'s|[:>])\s*[*(\"$]*(?P<letter>[A-F])[).\"*$]*\s*$",
    )
)
_LINE_ENDS = re.compile(r"[\W_]*$")
_NOTHING_ELSE = re.compile(r"[\W_]*(?P<letter>[A-Fa-f])[\W_]*")
_FIRST = re.compile(
    rf"\s*(?:(?i:option|choice|answer)\b[\s:]*)?[*_]*[(\[]?(?P<letter>[A-Fa-f])(?!\.\w){_ALONE}"
    rf"(?:[)\].:,;*_=]|\s*$|\s*\n|\s+[\d$(=-]|\s+{words('because since as is')})"
)
_OPTION_LINE = re.compile(r"[\s*_>-]*[(\[]?(?P<letter>[A-F])[)\].:](?=\s)")


def choice(text: str, marker: str) -> str | None:
    """The letter, A to F, that an output settles on.

    Args:
        text: What the model wrote.
        marker: What stands before an answer, if anything does.

    Returns:
        A capital letter: that of the last box; else the one alone behind the last marker; else the last one that is
        called the answer (*the answer is (C)*, *Ans: C*, *option C is correct*, *I choose C*); else that of the last
        line where one is set off (*(C)*, *C) 18*, *option C*, a line with nothing else). ``None`` if none is, if that
        line names several, or if there is only a list of the options. An article is no letter: a bare *a* counts where
        it is called the answer and no noun follows. Letters that are refused (*not (A)*, *(A) is too small*) do not
        count.
    """
    text = straight(text)
    inside = box(text)
    if inside is not None and (found := choice_meaning(readable(inside))):
        return found
    _, marked, behind = text.rpartition(marker)
    # Alone on its line: the marker may be a heading's (### A. Add the numbers).
    only = _NOTHING_ELSE.fullmatch(behind.lstrip().partition("\n")[0]) if marked else None
    if only is not None:
        return only["letter"].upper()
    called = [hit for pattern in _CALLED for hit in pattern.finditer(text) if _is_meant(hit)]
    if called:
        return max(called, key=lambda hit: hit.end("letter"))["letter"].upper()
    return _set_off(text)


def choice_meaning(answer: str) -> str | None:
    """The letter that an answer begins with, as a capital; ``None`` if it begins otherwise, or with several."""
    found = _FIRST.match(answer)
    return found["letter"].upper() if found else None


def _is_meant(found: re.Match[str]) -> bool:
    """Whether the letter is neither refused nor an article."""
    text, end = found.string, found.end("letter")
    return not _REFUSED.match(text, end) and (found["letter"] not in "aA" or _NO_NOUN.match(text, end) is not None)


def _set_off(text: str) -> str | None:
    for line in reversed(list(_without_listings(text.splitlines()))):
        only = _NOTHING_ELSE.fullmatch(line)
        if only is not None:
            return only["letter"].upper()
        places = set()
        for pattern in _SET_OFF:
            for found in pattern.finditer(line):
                start, end = found.span("letter")
                counted = found["letter"].islower() and not _LINE_ENDS.match(line, end)  # (a) first, we …
                refused = _REFUSES.search(line[max(0, start - 40) : start]) or _REFUSED.match(line, end)
                if not counted and not refused:
                    places.add((start, found["letter"].upper()))
        letters = [letter for _, letter in sorted(places)]
        if len(letters) >= 3 and letters == sorted(letters):  # the options once more, in one line
            continue
        if letters:
            return letters[0] if len(set(letters)) == 1 else None
    return None


def _without_listings(lines: list[str]) -> Iterator[str]:
    """The lines that are not one of several options, each with the letter behind that of the one before."""
    letters = [ord(found["letter"]) if (found := _OPTION_LINE.match(line)) else None for line in lines]
    for line, before, letter, behind in zip(lines, [None, *letters], letters, [*letters[1:], None], strict=False):
        if letter is None or (before != letter - 1 and behind != letter + 1):
            yield line
