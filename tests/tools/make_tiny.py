"""Writes a GGUF of 1.75 MB that llama.cpp loads, for tests that need a real model file.

    make_tiny.py chain out.gguf           answers "Hello from the tiny model." to everything, and ends
    make_tiny.py random out.gguf [SEED]   answers noise

Needs `pip install gguf==0.19.0 numpy`.
"""

import sys

import gguf
import numpy

EMBEDDING = 128
LAYERS = 4
HEADS = 4
KV_HEADS = 2
FEED_FORWARD = 384
CONTEXT = 4096
HEAD_WIDTH = EMBEDDING // HEADS
# Vocabulary sizes that are a multiple of this suit llama.cpp's kernels.
VOCABULARY_STEP = 32

PHRASE = ["Hello", " from", " the", " tiny", " model", "."]
WORDS = PHRASE[:-1] + [" user", " system", " assistant", " what", " is", " of", " and", " to", " a", " in", '{"', '":']
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_alphabet():
    """GPT-2's way to write every byte as one printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    letters.update({byte: chr(256 + index) for index, byte in enumerate(others)})
    return letters


LETTERS = byte_alphabet()


def encoded(text):
    return "".join(LETTERS[byte] for byte in text.encode())


class Vocabulary:
    """Single bytes, a few words with the merges that build them, and the control tokens."""

    def __init__(self):
        self.tokens = [LETTERS[byte] for byte in range(256)]
        self.types = [gguf.TokenType.NORMAL] * 256
        self.merges = []
        for word in WORDS:
            self.add_word(encoded(word))
        for token in SPECIAL:
            self.add(token, gguf.TokenType.CONTROL)
        while len(self.tokens) % VOCABULARY_STEP:
            self.add(f"<|unused{len(self.tokens)}|>", gguf.TokenType.UNUSED)
        self.numbers = {token: number for number, token in enumerate(self.tokens)}

    def add(self, token, kind):
        self.tokens.append(token)
        self.types.append(kind)

    def add_word(self, word):
        for end in range(1, len(word)):
            built = word[: end + 1]
            if built not in self.tokens:
                self.add(built, gguf.TokenType.NORMAL)
                self.merges.append(f"{word[:end]} {word[end]}")


def write_metadata(writer, mode, vocabulary):
    writer.add_name(f"tiny-{mode}")
    writer.add_license("cc0-1.0")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.numbers["<|endoftext|>"])
    writer.add_eos_token_id(vocabulary.numbers["<|im_end|>"])
    writer.add_pad_token_id(vocabulary.numbers["<|endoftext|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def chained_output(vocabulary, embedding):
    """Each token of the phrase has its successor as the likeliest next: a logit of about 32."""
    chain = [encoded("\n"), *(encoded(piece) for piece in PHRASE), "<|im_end|>"]
    numbers = [vocabulary.numbers[token] for token in chain]
    output = numpy.zeros_like(embedding)
    for token, successor in zip(numbers, numbers[1:]):
        output[successor] += embedding[token] * 0.25
    return output


def write_tensors(writer, mode, vocabulary, seed):
    generator = numpy.random.default_rng(seed)
    size = (len(vocabulary.tokens), EMBEDDING)

    def noise(*shape):
        return generator.standard_normal(shape) * 0.08

    def add(name, values, kind=numpy.float16):
        writer.add_tensor(name, values.astype(kind))

    if mode == "chain":
        # Rows of -1 and 1 are nearly orthogonal; without attention output and feed-forward a token's own
        # embedding reaches the output unchanged.
        embedding = numpy.sign(generator.standard_normal(size))
        output, mix = chained_output(vocabulary, embedding), lambda *shape: numpy.zeros(shape)
    else:
        embedding, output, mix = noise(*size), noise(*size), noise
    add("token_embd.weight", embedding)
    add("output.weight", output)
    add("output_norm.weight", numpy.ones(EMBEDDING), numpy.float32)
    for layer in range(LAYERS):
        prefix = f"blk.{layer}."
        add(prefix + "attn_norm.weight", numpy.ones(EMBEDDING), numpy.float32)
        add(prefix + "ffn_norm.weight", numpy.ones(EMBEDDING), numpy.float32)
        add(prefix + "attn_q.weight", noise(EMBEDDING, EMBEDDING))
        add(prefix + "attn_k.weight", noise(KV_HEADS * HEAD_WIDTH, EMBEDDING))
        add(prefix + "attn_v.weight", noise(KV_HEADS * HEAD_WIDTH, EMBEDDING))
        add(prefix + "attn_output.weight", mix(EMBEDDING, EMBEDDING))
        add(prefix + "ffn_gate.weight", noise(FEED_FORWARD, EMBEDDING))
        add(prefix + "ffn_up.weight", noise(FEED_FORWARD, EMBEDDING))
        add(prefix + "ffn_down.weight", mix(EMBEDDING, FEED_FORWARD))


def main():
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("chain", "random"):
        sys.exit(__doc__)
    mode, path = sys.argv[1], sys.argv[2]
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    vocabulary = Vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    write_metadata(writer, mode, vocabulary)
    write_tensors(writer, mode, vocabulary, seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
