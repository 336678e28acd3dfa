r"""What models write where one of six dates is asked for, and what ``choice`` and the released SoftCoT code read."""

from __future__ import annotations

END = "Therefore, the final answer is: "

OUTPUTS: list[tuple[str, str | None, str | None]] = [
    # Output, the letter that it settles on, and the letter that the released code reads.
    (END + r"$\boxed{F}$.", "F", "F"),
    (END + r"$\boxed{F}$. I hope it is a good date.", "F", "A"),
    (END + r"$\boxed{(B) 12/25/1937}$", "B", "B"),
    (END + r"$\boxed{\text{(B) 12/25/1937}}$, a Saturday.", "B", "A"),
    (END + r"$\boxed{12/25/1937}$", None, None),
    (END + r"$\boxed{12/25/1937}$, which is (B).", "B", "B"),
    (END + r"$\boxed{\text{B or C}}$", None, "C"),
    (END + r"$\boxed{G}$", None, None),
    (r"\boxed{E", None, "E"),
    (r"$\boxed{\mathrm{E}}$", "E", "E"),
    # Said to be the answer.
    ("Today is a Friday. The answer is (F).", "F", "F"),
    ("So the answer is (B), 12/25/1937.", "B", "B"),
    ("So the answer is (B), a day later.", "B", "A"),
    ("The date tomorrow is 12/25/1937, so the correct answer is option B.", "B", "B"),
    ('The correct choice is "D".', "D", "D"),
    ("Answer: **(E)** 07/09/1972", "E", "E"),
    ("**Answer:** E", "E", "E"),
    ("Answer = E", "E", "E"),
    ("Final answer → F", "F", "F"),
    ("The right option is F, since a month has 30 days.", "F", "A"),
    ("I'll go with D.", "D", "D"),
    ("We select option (c).", "C", "C"),
    ("the answer is f", "F", "F"),
    ("The answer isn't (A).", None, "A"),
    ("The answer can't be (A), the answer is (C).", "C", "C"),
    ("(E) must be the correct one.", "E", "E"),
    ("The answer is A because Christmas Eve is a day before.", "A", "A"),
    ("The answer is a day after Christmas Eve.", None, "A"),
    # The article, dates, and other letters.
    ("Christmas is a holiday in December.", None, "A"),
    ("Jane was born in 5 B.C. or A.D. 5.", None, "D"),
    ("At 5 a.m. on 1/2/2003.", None, "A"),
    ("It's a Tuesday, the 5th.", None, "A"),
    ("MM/DD/YYYY means month first.", None, None),
    ("Let d be the day.", None, "D"),
    ("12/25/1937", None, None),
    # Set off from the text.
    ("(F) 07/25/1937", "F", "F"),
    ("It was Christmas Eve.\nB. 12/25/1937", "B", "B"),
    ("F\n", "F", "F"),
    ("[D]", "D", "D"),
    ("A week later is 05/13/1972. => D", "D", "D"),
    ("That is Option D.", "D", "D"),
    ("Option D: a week later.", "D", "A"),
    ("First (a) we add a day. Then (b) we subtract a year.", None, "A"),
    # Several, and options that are repeated or refused.
    ("(A) 12/11/1937\n(B) 12/25/1937\n(C) 01/04/1938\n(D) 12/04/1937\n(E) 12/25/2006\n(F) 07/25/1937", None, "F"),
    ("(A) 12/11/1937 (B) 12/25/1937 (C) 01/04/1938", None, "C"),
    ("(B) 12/25/1937 and (E) 12/25/2006 are Christmas.", None, "E"),
    ("(A) is a month off.\n(B) is right.", "B", "B"),
    ("(B) is wrong; (C) is wrong; (D) is not.", None, "D"),
    ("Neither (A) nor (B).", None, "B"),
    # The marker.
    ("### (F)", "F", "F"),
    ("### f", "F", "F"),
    ("### B\n\nQuestion: what is a date?", "B", "A"),
    ("", None, None),
]
"""Also here a date alone is no letter, and an "a" before a noun is none."""
