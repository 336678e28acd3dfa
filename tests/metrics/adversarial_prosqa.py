"""What models write where ProsQA asks which of two things an entity is, and what the extractor ``string`` reads."""

from __future__ import annotations

GOLD = "Tom is a lempus."

OUTPUTS: list[tuple[str, str | None, bool]] = [
    # Output, extracted answer, whether it is right.
    ("### Tom is a lempus.", GOLD, True),
    ("Tom is a wumpus.\nEvery wumpus is a lempus.\n### Tom is a lempus.", GOLD, True),
    ("### Tom is a zumpus.", "Tom is a zumpus.", False),
    ("### Tim is a lempus.", "Tim is a lempus.", False),
    # White space at the ends does not count, within it does.
    ("###Tom is a lempus.", GOLD, True),
    ("###   Tom is a lempus.  ", GOLD, True),
    ("###\nTom is a lempus.\n\n", GOLD, True),
    ("###\tTom is a lempus.\r\n", GOLD, True),
    ("###\u00a0Tom is a lempus.\u2003", GOLD, True),
    ("### Tom  is a lempus.", "Tom  is a lempus.", False),
    ("### Tom is a\nlempus.", "Tom is a\nlempus.", False),
    ("### Tom\u00a0is a lempus.", "Tom\u00a0is a lempus.", False),
    # Nothing to extract.
    ("", None, False),
    (" \n ", None, False),
    ("###", None, False),
    ("### \n", None, False),
    ("### ,", None, False),
    (GOLD, None, False),
    ("The answer is: Tom is a lempus.", None, False),
    ("Tom is a wumpus.\nEvery wumpus is a lempus.", None, False),
    ("## Tom is a lempus.", None, False),
    ("# # # Tom is a lempus.", None, False),
    ("\uff03\uff03\uff03 Tom is a lempus.", None, False),
    ("Tom is a lempus. ###", None, False),
    # The last marker counts.
    ("### Tom is a zumpus. ### Tom is a lempus.", GOLD, True),
    ("### Tom is a lempus.\n### Tom is a zumpus.", "Tom is a zumpus.", False),
    ("### Tom is a lempus. ###", None, False),
    ("### ### Tom is a lempus.", GOLD, True),
    ("#### Tom is a lempus.", GOLD, True),
    ("######## Tom is a lempus.", GOLD, True),
    # Parts, more, other marks and another case are other strings.
    ("### lempus", "lempus", False),
    ("### a lempus.", "a lempus.", False),
    ("### Tom is a lempus", "Tom is a lempus", False),
    ("### Tom is a lempus!", "Tom is a lempus!", False),
    ("### Tom is a lempus..", "Tom is a lempus..", False),
    ("### tom is a lempus.", "tom is a lempus.", False),
    ("### TOM IS A LEMPUS.", "TOM IS A LEMPUS.", False),
    ("### Tom is an lempus.", "Tom is an lempus.", False),
    ("### Tom is lempus.", "Tom is lempus.", False),
    ("### Tom is not a lempus.", "Tom is not a lempus.", False),
    ("### Tom is a lempuses.", "Tom is a lempuses.", False),
    ("### Every wumpus is a lempus.", "Every wumpus is a lempus.", False),
    ("### Tom is a lempus. Tom is a zumpus.", "Tom is a lempus. Tom is a zumpus.", False),
    ("### Tom is a lempus or zumpus.", "Tom is a lempus or zumpus.", False),
    ("### Is Tom a lempus or zumpus?", "Is Tom a lempus or zumpus?", False),
    ("### **Tom is a lempus.**", "**Tom is a lempus.**", False),
    ('### "Tom is a lempus."', '"Tom is a lempus."', False),
    ("### Tom is a lempu\u0455.", "Tom is a lempu\u0455.", False),  # a Cyrillic s
    ("### Tom is a lem\u200bpus.", "Tom is a lem\u200bpus.", False),  # a space of no width
    ("### Tom is a lempus.<|endoftext|>", "Tom is a lempus.<|endoftext|>", False),
    ("### <|latent|>Tom is a lempus.", "<|latent|>Tom is a lempus.", False),
    # A comma is deleted wherever it stands.
    ("### Tom, is a lempus.", GOLD, True),
    ("### Tom is a lem,pus.,", GOLD, True),
    ("### Tom, a lempus.", "Tom a lempus.", False),
]
"""Of several markers the last one counts, commas are deleted, and the rest must equal the gold answer to the letter."""
