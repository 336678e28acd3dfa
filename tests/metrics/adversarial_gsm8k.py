r"""What chat models write where a number is asked for, and what ``boxed`` and the released SoftCoT code make of it."""

from __future__ import annotations

END = "Therefore, the final answer is: "

OUTPUTS: list[tuple[str, str, str | None, bool, str | None]] = [
    # Output, gold answer, what is in the box, whether that is right, and what the released code reads.
    (END + r"$\boxed{18}$. I hope it is correct.", "18", "18", True, "18"),
    (
        r"## Step 1: 16 - 3 - 4 = 9" + "\n" + r"## Step 2: 9 * 2 = 18" + f"\n{END}" + r"$\boxed{18}$.",
        "18",
        "18",
        True,
        "18",
    ),
    # No box, an empty one, one that was never closed.
    ("", "18", None, False, None),
    ("The answer is 18.", "18", None, False, "18"),
    ("#### 18", "18", None, False, "18"),
    (END + r"$\boxed{}$.", "18", None, False, None),
    (END + r"$\boxed{ }$", "18", None, False, None),
    (END + r"$\boxed{18", "18", None, False, "18"),
    (r"$\boxed{18}$. Let me check: $\boxed{1", "18", "18", True, "1"),
    (r"boxed{18}", "18", None, False, "18"),
    (r"\box{18}", "18", None, False, "18"),
    # Several boxes: the last one counts; of boxes within each other the innermost.
    (r"$\boxed{9}$, and then $\boxed{18}$.", "18", "18", True, "18"),
    (r"$\boxed{18}$? No: $\boxed{9}$.", "18", "9", False, "9"),
    (r"$\boxed{\boxed{18}}$", "18", "18", True, "18"),
    (r"\fbox{18}", "18", "18", True, "18"),
    (r"$\\boxed{18}$", "18", "18", True, "18"),
    (r"$\boxed {18}$", "18", "18", True, "18"),
    # What follows the box.
    (END + r"$\boxed{18}$. I used 3 steps.", "18", "18", True, "3"),
    (END + r"$\boxed{18}$ dollars for 2 days.", "18", "18", True, "2"),
    (END + r"$\boxed{3}$ for 18 eggs.", "18", "3", False, "18"),
    # Currency, units, commas.
    (END + r"$\boxed{\$1,234.50}$", "1234.5", "1234.50", True, "1234.5"),
    (END + r"$\boxed{1{,}234}$", "1,234", "1234", True, "234"),
    (END + r"$\boxed{12\,345}$", "12345", "12345", True, "345"),
    (END + r"$\boxed{18\text{ apples}}$", "18", "18", True, "18"),
    (END + r"$\boxed{\text{\$}18}$", "18", "18", True, "18"),
    (END + r"$\boxed{18 \text{ m}^2}$", "18", "18", True, "2"),
    (END + r"$\boxed{5\%}$", "5", "5", True, "5"),
    (END + r"$\boxed{90^\circ}$", "90", "90", True, "90"),
    (END + r"$\boxed{\textbf{18}}$", "18", "18", True, "18"),
    # Negatives: the released code has no sign.
    (END + r"$\boxed{-5}$", "-5", "-5", True, "5"),
    (END + r"$\boxed{-5}$", "5", "-5", False, "5"),
    (END + r"$\boxed{−5}$", "-5", "-5", True, "5"),  # noqa: RUF001
    (END + r"$\boxed{- \$5}$", "-5", "-5", True, "5"),
    (END + r"$\boxed{20-5}$", "5", "20-5", False, "5"),
    # Decimals, fractions, powers.
    (END + r"$\boxed{18.0}$", "18", "18.0", True, "18.0"),
    (END + r"$\boxed{0.125}$", "0.125", "0.125", True, "0.12"),
    (END + r"$\boxed{\dfrac{1}{2}}$", "0.5", "1/2", True, "2"),
    (END + r"$\boxed{2\frac{1}{2}}$", "2.5", "5/2", True, "2"),
    (END + r"$\boxed{\frac12}$", "0.5", "1/2", True, "12"),
    (END + r"$\boxed{3.2 \times 10^{5}}$", "320,000", "3.2e5", True, "5"),
    (END + r"$\boxed{.5}$", "0.5", ".5", True, "5"),
    # More than a number, and less.
    (END + r"$\boxed{x = 18}$", "18", "18", True, "18"),
    (END + r"$\boxed{3 + 15 = 18}$", "18", "18", True, "18"),
    (END + r"$\boxed{18, 20}$", "18", "18, 20", False, "20"),
    (END + r"$\boxed{18 \text{ or } 20}$", "18", "18 or 20", False, "20"),
    (END + r"$\boxed{\text{eighteen}}$", "18", "eighteen", False, None),
    (END + r"$\boxed{5\sqrt{2}}$", "5", r"5\sqrt2", False, "2"),
    (END + r"$\boxed{10^2}$", "10", "10^2", False, "2"),
]
"""A box says the answer and nothing else; the released code takes whichever number comes last, unsigned."""
