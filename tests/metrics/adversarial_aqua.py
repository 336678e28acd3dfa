r"""What models write where one of five options is asked for, and what ``choice`` and the released SoftCoT code read."""

from __future__ import annotations

END = "Therefore, the final answer is: "

OUTPUTS: list[tuple[str, str | None, str | None]] = [
    # Output, the letter that it settles on, and the letter that the released code reads.
    ("### C", "C", "C"),
    (END + r"$\boxed{C}$. I hope it is correct.", "C", "C"),
    (END + r"$\boxed{C}$. This is a hard one.", "C", "A"),
    (END + r"$\boxed{\text{C}}$", "C", "C"),
    (END + r"$\boxed{\textbf{(C)}\ 18}$", "C", "C"),
    (END + r"$\boxed{C) 18}$", "C", "C"),
    (END + r"$\boxed{c}$", "C", "C"),
    (END + r"$\boxed{18}$", None, None),
    (r"The answer is (C). In a box: $\boxed{18}$", "C", "A"),
    (r"$\boxed{B}$? No, a mistake: $\boxed{D}$", "D", "D"),
    (r"$\boxed{B}$. Option C would take a day more.", "B", "A"),
    (r"$\boxed{B, C}$", None, "C"),
    # Said to be the answer.
    ("So the answer is (C).", "C", "C"),
    ("So the answer is C) 18, as a check shows.", "C", "A"),
    ("ANSWER:C", "C", "C"),
    ("Ans. C", "C", "C"),
    ("Answer - C", "C", "C"),
    ("The correct option is **C**.", "C", "C"),
    ("I choose (C), since x = a + b.", "C", "B"),
    ("C is the answer.", "C", "C"),
    ("Option C is correct.", "C", "C"),
    ("The answer is B. Wait, the answer is D.", "D", "D"),
    ("The answer is therefore option (E), 10 miles in a minute.", "E", "A"),
    ("The answer is not A. The answer is B.", "B", "B"),
    ("The answer is a.", "A", "A"),
    ("The answer is A.", "A", "A"),
    # The article, and letters that name something else.
    ("The answer is a number below 10.", None, "A"),
    ("A train needs 5 hours for a tunnel.", None, "A"),
    ("I am not sure about a solution.", None, "A"),
    ("Let a and b be the sides, and c the diagonal.", None, "C"),
    ("The area of the triangle ABC is 10, that of D is 5.", None, "D"),
    ("We get f(a) + g(b) = 18.", None, "B"),
    ("I'd say 18, e.g. with x = 9.", None, "E"),
    ("Vitamin C helps.", None, "C"),
    # Set off from the text.
    ("C", "C", "C"),
    ("(C)", "C", "C"),
    ("c.", "C", "C"),
    ("16 + 2 = 18\nC) 18", "C", "C"),
    ("The speed is 18 km an hour, a good one.\n**C**", "C", "C"),
    ("It must be (C), as a test shows.", "C", "A"),
    # Several, and options that are repeated or refused.
    ("Either (A) or (B).", None, "B"),
    ("The answer is A or B.", None, "B"),
    ("A) 5\nB) 6\nC) 18\nD) 20\nE) 30", None, "E"),
    ("Options: (A) 5 (B) 6 (C) 18 (D) 20 (E) 30", None, "E"),
    ("The answer is C.\nA) 5\nB) 6\nC) 18\nD) 20\nE) 30", "C", "E"),
    ("(D) is too small. It is not (E).", None, "E"),
    ("(A) is wrong, so it has to be (B).", "B", "B"),
    # The marker.
    ("### D\nI had thought of C, a better one.", "D", "A"),
    ("### 18\nThe answer is B", "B", "B"),
    ("### The correct option is E.", "E", "E"),
    ("### A", "A", "A"),
    ("### C) 18", "C", "C"),
    ("### A. Add the numbers\n9 + 9 = 18\n### B. Check it\nSo the answer is (C).", "C", "C"),
    ("###", None, None),
    ("", None, None),
]
"""A letter is read where it is meant; the released code takes the last that stands alone, an article for option A."""
