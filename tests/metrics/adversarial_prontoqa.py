"""What models write where True or False is asked for, and what the extractor ``string`` makes of it."""

from __future__ import annotations

OUTPUTS: list[tuple[str, str, str | None, bool]] = [
    # Output, gold answer, extracted answer, whether it is right.
    ("### True", "True", "True", True),
    ("### False", "False", "False", True),
    ("### True", "False", "True", False),
    ("### False", "True", "False", False),
    ("Max is a wumpus. Each wumpus is hot.\nMax is hot.\n### True", "True", "True", True),
    # White space does not count, on either side and of any kind.
    ("###True", "True", "True", True),
    ("###   True", "True", "True", True),
    ("### False\n", "False", "False", True),
    ("###\nFalse", "False", "False", True),
    ("###\tTrue \n\n", "True", "True", True),
    ("###\u00a0True\u2003", "True", "True", True),
    ("### False\r\n", "False", "False", True),
    # Nothing to extract.
    ("", "True", None, False),
    ("   \n", "False", None, False),
    ("###", "True", None, False),
    ("### \n", "False", None, False),
    ("### ,", "True", None, False),
    ("True", "True", None, False),
    ("The answer is False.", "False", None, False),
    ("Max is hot.\nTrue", "True", None, False),
    ("## True", "True", None, False),
    ("# # # True", "True", None, False),
    ("\uff03\uff03\uff03 True", "True", None, False),  # of full width
    # The last marker counts, also where the one before it was right.
    ("### True\n### False", "False", "False", True),
    ("### True\n### False", "True", "False", False),
    ("### True ###", "True", None, False),
    ("### ### False", "False", "False", True),
    ("#### True", "True", "True", True),
    ("####### False", "False", "False", True),
    # Case, marks, other words and other languages are another string.
    ("### true", "True", "true", False),
    ("### FALSE", "False", "FALSE", False),
    ("### True.", "True", "True.", False),
    ("### False!", "False", "False!", False),
    ('### "True"', "True", '"True"', False),
    ("### **False**", "False", "**False**", False),
    ("### T", "True", "T", False),
    ("### 1", "True", "1", False),
    ("### yes", "True", "yes", False),
    ("### \u0422rue", "True", "\u0422rue", False),  # a Cyrillic capital
    ("### Tr\u200bue", "True", "Tr\u200bue", False),  # a space of no width
    # Trailing and leading words count, a comma does not.
    ("### True Max is hot.", "True", "True Max is hot.", False),
    ("### True\nMax is hot.", "True", "True\nMax is hot.", False),
    ("### not True", "False", "not True", False),
    ("### not False", "True", "not False", False),
    ("### Max is hot.", "True", "Max is hot.", False),
    ("### True or false", "True", "True or false", False),
    ("### TrueFalse", "False", "TrueFalse", False),
    ("### True False", "True", "True False", False),
    ("### True,", "True", "True", True),
    ("### Fal,se", "False", "False", True),
    ("### False<|endoftext|>", "False", "False<|endoftext|>", False),
    ("### <|latent|>True", "True", "<|latent|>True", False),
]
"""Of several markers the last one counts, commas are deleted, and the rest must equal the gold answer to the letter."""
