"""What models write to answer anyone's own questions: words for the extractor ``string``, numbers for ``number``."""

from __future__ import annotations

OUTPUTS: list[tuple[str, str, str | None, bool, str | None, bool]] = [
    # Output, gold answer, what string reads and whether that is right, what number reads and whether that is right.
    ("### 3", "3", "3", True, "3", True),
    ("1 + 1 = 2\n2 + 1 = 3\n### 3", "3", "3", True, "3", True),
    ("### 4", "3", "4", False, "4", False),
    # No marker, or nothing behind it.
    ("", "3", None, False, None, False),
    ("3", "3", None, False, None, False),
    ("The answer is 3.", "3", None, False, None, False),
    ("## 3", "3", None, False, None, False),
    ("3 ###", "3", None, False, None, False),
    ("###", "3", None, False, None, False),
    ("### .", "3", ".", False, None, False),
    # Several markers.
    ("### 4\n### 3", "3", "3", True, "3", True),
    ("### 3\n### 4", "3", "4", False, "4", False),
    ("### 3 ###", "3", None, False, None, False),
    ("###### 3", "3", "3", True, "3", True),
    # Units, words, and what is not one number.
    ("### 3 apples", "3", "3 apples", False, "3", True),
    ("### 3kg", "3", "3kg", False, "3", True),
    ("### x = 3", "3", "x = 3", False, "3", True),
    ("### three", "3", "three", False, None, False),
    ("### 3.", "3", "3.", False, "3", True),
    ("### 3\nThat is 1 more than 2.", "3", "3\nThat is 1 more than 2.", False, "3", True),
    ("### 3 or 4", "3", "3 or 4", False, "3", True),
    ("### 4, not 3", "3", "4 not 3", False, "4", False),
    ("### 2 + 1", "3", "2 + 1", False, "2", False),
    ("### **3**", "3", "**3**", False, "3", True),
    ("### $3", "3", "$3", False, "3", True),
    ("### 3%", "3", "3%", False, "3", True),
    ("### step 2: 3", "3", "step 2: 3", False, "2", False),
    # Commas, points, fractions, powers, zeros.
    ("### $1,234.50", "1234.5", "$1234.50", False, "1234.50", True),
    ("### 1,234", "1,234", "1234", True, "1234", True),
    ("### 1234", "1,234", "1234", True, "1234", True),
    ("### 1.234", "1234", "1.234", False, "1.234", False),
    ("### 18.0", "18", "18.0", False, "18.0", True),
    ("### 018", "18", "018", False, "018", True),
    ("### 1/2", "0.5", "1/2", False, "1/2", True),
    ("### .5", "0.5", ".5", False, ".5", True),
    ("### 5e-1", "0.5", "5e-1", False, "5e-1", True),
    ("### 0.333", "1/3", "0.333", False, "0.333", False),
    # Negatives.
    ("### -3", "-3", "-3", True, "-3", True),
    ("### \u22123", "-3", "\u22123", False, "-3", True),
    ("### - 3", "-3", "- 3", False, "3", False),
    ("### 3", "-3", "3", False, "3", False),
    ("### -$3", "-3", "-$3", False, "-3", True),
    ("### (3)", "-3", "(3)", False, "3", False),
    ("### minus 3", "-3", "minus 3", False, "3", False),
    ("### 5-3", "-3", "5-3", False, "5", False),
    ("### -0", "0", "-0", False, "-0", True),
    # Words: numbers do not apply.
    ("### Tom is a cat.", "Tom is a cat.", "Tom is a cat.", True, None, False),
    ("### Tom is a cat", "Tom is a cat.", "Tom is a cat", False, None, False),
    ("### tom is a cat.", "Tom is a cat.", "tom is a cat.", False, None, False),
    ("### Yes, Tom is.", "Yes, Tom is.", "Yes Tom is.", True, None, False),
    ("### Room 3", "Room 3", "Room 3", True, "3", True),
    ("### Room 3", "Hall 3", "Room 3", False, "3", True),
]
"""An answer that is a number is best read as one; one that is not can only be compared to the letter."""
