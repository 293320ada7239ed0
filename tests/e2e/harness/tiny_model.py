"""A language model of random numbers, as small as it can be, in the form that MLX LM loads."""

import json
from pathlib import Path

WORDS = ["</s>", "<unk>", "what", "is", "the", "sea", "made", "of", "?", ".", "salt", "water", "deep", "blue"]
HIDDEN, INNER, HEADS, GROUPS, LAYERS = 32, 64, 4, 2, 2

CONFIG = {
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "intermediate_size": INNER,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}

END = {
    "id": 0,
    "content": WORDS[0],
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}

TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [END],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {
        "type": "WordLevel",
        "vocab": {word: number for number, word in enumerate(WORDS)},
        "unk_token": WORDS[1],
    },
}

TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": WORDS[0],
    "unk_token": WORDS[1],
    "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
}


def write_tiny_model(directory: Path) -> None:
    """Writes the model; the same every time."""
    import mlx.core as mx

    directory.mkdir()
    for name, content in {
        "config.json": CONFIG,
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": TOKENIZER_CONFIG,
    }.items():
        (directory / name).write_text(json.dumps(content))
    mx.random.seed(7)
    weights = {name: mx.random.normal(shape) for name, shape in shapes().items()}
    mx.save_safetensors(str(directory / "model.safetensors"), weights, {"format": "mlx"})


def shapes() -> dict:
    """The weights by name."""
    shared = HIDDEN * GROUPS // HEADS
    found = {"model.embed_tokens.weight": (len(WORDS), HIDDEN), "model.norm.weight": (HIDDEN,)}
    for number in range(LAYERS):
        layer = {
            "input_layernorm": (HIDDEN,),
            "post_attention_layernorm": (HIDDEN,),
            "self_attn.q_proj": (HIDDEN, HIDDEN),
            "self_attn.k_proj": (shared, HIDDEN),
            "self_attn.v_proj": (shared, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }
        found.update({f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()})
    return found
