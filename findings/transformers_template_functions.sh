#!/usr/bin/env bash
# transformers 5.23.0 with jinja2 3.1.6: a function that is passed to a chat template arrives as the text
# "<function>".
#
# apply_chat_template hands further keyword arguments to the template: numbers, lists and mappings arrive as they are, so a
# mapping's entries can be looked up and numbers added to. Expected: a function, too, can be called there, for instance a
# clock of one's own in the place of strftime_now, which Llama 3's template calls for today's date, so that a prompt is the
# same tomorrow. Seen: it is a text, and calling it raises TypeError; strftime_now itself can be replaced by it, and the
# template then fails.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet transformers==5.23.0 jinja2==3.1.6
cd "$place"
venv/bin/python - <<'PYTHON' 2>/dev/null
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"hello": 0}, unk_token="hello")))
turns = [{"role": "user", "content": "hello"}]


def written(template, **variables):
    tokenizer.chat_template = template
    try:
        return tokenizer.apply_chat_template(turns, tokenize=False, **variables)
    except TypeError as err:
        return f"TypeError: {err}"


def clock(form):
    return "26 Jul 2024"


plain = written("{{ number + 1 }} {{ entries.day }}", number=1, entries={"day": 26})
shown = written("{{ clock }}", clock=clock)
called = written("{{ clock('%d %b %Y') }}", clock=clock)
replaced = written("{{ strftime_now('%d %b %Y') }}", strftime_now=clock)
print(f"numbers and mappings: {plain!r}; a function: {shown!r}; called: {called!r}; for strftime_now: {replaced!r}")
assert plain == "2 26"
assert shown == "<function>", "it has changed: a function is passed on as one"
assert called == replaced == "TypeError: 'str' object is not callable", "it has changed: it can be called"
PYTHON
echo "as described: a chat template gets the text <function> for a function"
