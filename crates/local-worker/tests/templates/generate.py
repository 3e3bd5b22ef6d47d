"""Renders every template with every conversation the way transformers does, and writes `expected/`.

The files in `templates/` are the chat templates that the models' publishers ship; `python-methods` is our own
and uses what the others leave out. Run this again after adding a template or a conversation:

    pip install jinja2
    python crates/local-worker/tests/templates/generate.py
"""

import datetime
import json
import pathlib

from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 1, 31, 12, 0, 0)
# Tokens as they stand in each model's vocabulary.
TOKENS = {
    "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>"),
    "deepseek-r1-distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "hermes-3": ("<|begin_of_text|>", "<|im_end|>"),
    "hermes-3-tool-use": ("<|begin_of_text|>", "<|im_end|>"),
    "qwen2.5": ("<|endoftext|>", "<|im_end|>"),
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "python-methods": ("<s>", "</s>"),
}


def raise_exception(message):
    raise ValueError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    """The environment of transformers' `apply_chat_template`."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = NOW.strftime
    return made


def main():
    conversations = json.loads((HERE / "conversations.json").read_text())
    jinja = environment()
    (HERE / "expected").mkdir(exist_ok=True)
    for name, (bos_token, eos_token) in TOKENS.items():
        template = jinja.from_string((HERE / "templates" / f"{name}.jinja").read_text())
        rendered = {
            conversation: template.render(
                messages=messages, add_generation_prompt=True, bos_token=bos_token, eos_token=eos_token
            )
            for conversation, messages in conversations.items()
        }
        expected = {"bos_token": bos_token, "eos_token": eos_token, "rendered": rendered}
        text = json.dumps(expected, ensure_ascii=False, indent=2) + "\n"
        (HERE / "expected" / f"{name}.json").write_text(text)


if __name__ == "__main__":
    main()
