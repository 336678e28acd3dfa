r"""What models write where yes or no is asked for, and what ``yes_no`` and the released SoftCoT code read."""

from __future__ import annotations

OUTPUTS: list[tuple[str, str | None, str | None]] = [
    # Output, its conclusion, and the word that the released code reads.
    ("Finished reasoning, the answer is: Yes.", "yes", "yes"),
    ("Finished reasoning, the answer is: No.", "no", "no"),
    ("### Yes", "yes", "yes"),
    ("### no", "no", "no"),
    ("yes", "yes", "yes"),
    ("NO!", "no", "no"),
    ("**No**", "no", "no"),
    ("`Yes`", "yes", "yes"),
    (r"The final answer is $\boxed{\text{Yes}}$.", "yes", "yes"),
    (r"$\boxed{No}$. Some say yes.", "no", "yes"),
    (r"$\boxed{maybe}$ So the answer is no.", "no", "no"),
    # A no that belongs to the next word.
    ("The answer is yes, since no one lives there.", "yes", "no"),
    ("The answer is: Yes. There is no evidence against it.", "yes", "no"),
    ("Yes. He is no longer alive.", "yes", "no"),
    ("Yes, it has no wings.", "yes", "no"),
    ("No one knows.", None, "no"),
    ("There are no owls in Antarctica.", None, "no"),
    ("The answer is no longer clear.", None, "no"),
    ("It was his Symphony No. 5.", None, "no"),
    ("Dr. No-Name wrote a no-fly list.", None, "no"),
    ("No-one could. So yes.", "yes", "yes"),
    # The question once more.
    ("Answer with yes or no.", None, "no"),
    ("Yes or No? Yes.", "yes", "yes"),
    ("Yes/No: No", "no", "no"),
    ("Therefore, the final answer is `Yes` or `No`?", None, "no"),
    ("The answer is yes, to the question of `Yes` or `No`.", "yes", "no"),
    ("It is neither yes nor no.", None, "no"),
    # An answer with its reason.
    ("No, since she said yes.", "no", "yes"),
    ("No. Yes-men would disagree.", "no", "yes"),
    ("No because owls cannot read.", "no", "no"),
    ("No the owl cannot read.", "no", "no"),
    ("So, no, an owl cannot read.", "no", "no"),
    ("Owls cannot read, so the answer would be no.", "no", "no"),
    ("Many would say yes, but the answer is no, and that is that.", "no", "no"),
    ("The answer to the question is clearly yes; no doubt.", "yes", "no"),
    ("The answer is no. Or would you say yes to that?", "no", "yes"),
    ("The answer is not yes. It is no.", "no", "no"),
    ("The answer isn't no.", None, "no"),
    # Changes of mind: the last of the plainest counts.
    ("The answer is yes. Wait: the answer is no.", "no", "no"),
    ("Yes. Hmm. No.", "no", "no"),
    ("Answer: No\n\nQuestion: can owls read? Yes", "no", "yes"),
    # The marker, and what follows it.
    ("### Yes\nNo further reasoning.", "yes", "no"),
    ("### No, because the answer is not yes.", "no", "yes"),
    ("### The answer is no.", "no", "no"),
    ("### No further facts\nThe answer is yes.", "yes", "yes"),
    ("### Yes ### No", "no", "no"),
    # Neither.
    ("", None, None),
    ("True", None, None),
    ("Owls are birds. Birds cannot read.", None, None),
    ("Yesterday nobody noticed the northern eyes.", None, None),
    ("Noah said: I know.", None, None),
    ("Y", None, None),
    # Other marks.
    ("The answer is: \u201cNo\u201d.", "no", "no"),
    ("Answer \u2013 yes", "yes", "yes"),
    ("The answer is \u2018yes\u2019: there\u2019s no other.", "yes", "no"),
]
"""A conclusion is read where it is drawn; the released code takes the last whole word, that of *no one* too."""
