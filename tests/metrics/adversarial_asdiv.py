r"""What chat models write to answer ASDiv, and what ``boxed`` and the released SoftCoT code make of it.

Its answers are numbers with and without decimal places, but also names, ratios, times of day, and several at once. The
released code was run on ASDiv-Aug, where all are numbers.
"""

from __future__ import annotations

END = "Therefore, the final answer is: "

OUTPUTS: list[tuple[str, str, str | None, bool, str | None]] = [
    # Output, gold answer, what is in the box, whether that is right, and what the released code reads.
    (END + r"$\boxed{9}$. I hope it is correct.", "9", "9", True, "9"),
    (END + r"$\boxed{9 \text{ apples}}$.", "9", "9", True, "9"),
    (END + r"$\boxed{9\ \mathrm{apples}}$.", "9", "9", True, "9"),
    (END + r"$\boxed{\text{9 apples and 2 pears}}$.", "9", "9 apples and 2 pears", False, "2"),
    (END + r"$\boxed{\text{nine}}$.", "9", "nine", False, None),
    (END + r"$\boxed{7 + 2 = 9}$.", "9", "9", True, "9"),
    (END + r"$\boxed{7 + 2}$.", "9", "7 + 2", False, "2"),
    (END + r"$\boxed{9}$. She has 9 apples in 1 basket.", "9", "9", True, "1"),
    ("She has 9 apples.", "9", None, False, "9"),
    (r"\boxed{9", "9", None, False, "9"),
    # Money.
    (END + r"$\boxed{\$7.95}$.", "7.95", "7.95", True, "7.95"),
    (END + r"$\boxed{7.95 \text{ dollars}}$.", "7.95", "7.95", True, "7.95"),
    (END + r"$\boxed{\$9.80}$.", "9.8", "9.80", True, "9.8"),
    (END + r"$\boxed{9{.}80}$.", "9.8", "9.80", True, "80"),
    (END + r"$\boxed{10\text{¢}}$.", "10", "10", True, "10"),
    (END + r"$\boxed{0.10}$.", "10", "0.10", False, "0.1"),
    (END + r"$\boxed{\text{USD } 7.95}$.", "7.95", "7.95", True, "7.95"),
    # Decimal places: gold answers with three are never met by the released code.
    (END + r"$\boxed{0.395 \text{ km}}$.", "0.395", "0.395", True, "0.4"),
    (END + r"$\boxed{1.33}$.", "1.33", "1.33", True, "1.33"),
    (END + r"$\boxed{1.3333}$.", "1.33", "1.3333", False, "1.33"),
    (END + r"$\boxed{1\tfrac{1}{3}}$.", "1.33", "4/3", False, "3"),
    (END + r"$\boxed{3{,}550 \text{ mL}}$.", "3550", "3550", True, "550"),
    (END + r"$\boxed{15\,840}$.", "15840", "15840", True, "840"),
    # Fractions and negatives.
    (END + r"$\boxed{\frac{5}{2}}$.", "5/2", "5/2", True, "2"),
    (END + r"$\boxed{2.5}$.", "5/2", "2.5", True, "2.5"),
    (END + r"$\boxed{-\frac{1}{3}}$.", "-1/3", "-1/3", True, "3"),
    (END + r"$\boxed{-(1/3)}$.", "-1/3", "-1/3", True, "3"),
    (END + r"$\boxed{\frac{-1}{3}}$.", "-1/3", "-1/3", True, "3"),
    (END + r"$\boxed{1/3}$.", "-1/3", "1/3", False, "3"),
    (END + r"$\boxed{3 / 7}$.", "3/7", "3/7", True, "7"),
    (END + r"$\boxed{6/14}$.", "3/7", "6/14", True, "14"),
    # Ratios and times of day are no numbers.
    (END + r"$\boxed{5:6}$.", "5:6", "5:6", True, "6"),
    (END + r"$\boxed{5 : 6}$.", "5:6", "5:6", True, "6"),
    (END + r"$\boxed{15:18}$.", "5:6", "15:18", False, "18"),
    (END + r"$\boxed{6:5}$.", "5:6", "6:5", False, "5"),
    (END + r"$\boxed{3:30 \text{ p.m.}}$.", "3:30 p.m.", "3:30 p.m.", True, "30"),
    (END + r"$\boxed{\text{11:45 P.M.}}$", "11:45 p.m.", "11:45 P.M.", True, "45"),
    (END + r"$\boxed{6\text{th}}$.", "6th", "6", True, "6"),
    # Several answers, in any list.
    (END + r"$\boxed{9; 11; 13}$.", "9; 11; 13", "9; 11; 13", True, "13"),
    (END + r"$\boxed{9, 11, 13}$.", "9; 11; 13", "9, 11, 13", True, "13"),
    (END + r"$\boxed{13, 11, 9}$.", "9; 11; 13", "13, 11, 9", False, "9"),
    (END + r"$\boxed{9}$, $\boxed{11}$, $\boxed{13}$.", "9; 11; 13", "13", False, "13"),
    # Names.
    (END + r"$\boxed{\text{Mrs. Hilt}}$.", "Mrs. Hilt", "Mrs. Hilt", True, None),
    (END + r"$\boxed{\text{mrs. hilt}}$.", "Mrs. Hilt", "mrs. hilt", True, None),
    (END + r"$\boxed{\text{Jacob}}$, not Mrs. Hilt.", "Mrs. Hilt", "Jacob", False, None),
    (END + r"$\boxed{\text{Yes}}$.", "Yes", "Yes", True, None),
    (END + r"$\boxed{\text{February 3rd}}$.", "February 3rd", "February 3rd", True, "3"),
    (END + r"$\boxed{\text{March 3rd}}$.", "February 3rd", "March 3rd", False, "3"),
]
"""Units do not count where a number is asked for; a text has to be the whole of it."""
