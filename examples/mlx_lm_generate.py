"""Text from a language model on a Mac's GPU, with MLX LM.

    pip install metal9
    python mlx_lm_generate.py "Why is the sky blue?"
    python mlx_lm_generate.py "Why is the sky blue?" mlx-community/Qwen3-4B-4bit

The worker fetches the model from Hugging Face by its name; the default is a small one of 350 MB.
"""

import sys
from functools import lru_cache

from metal9 import Image, function

SMALL = "mlx-community/Qwen3-0.6B-4bit"

mlx_lm = Image(python_packages=["mlx-lm>=0.28", "mlx[cpu]"])


@lru_cache(maxsize=1)
def loaded(name):
    """A model and its tokenizer, kept as long as the process that answers calls is."""
    from mlx_lm import load

    print(f"loading {name}", flush=True)
    return load(name)


@function(gpu="MPS", image=mlx_lm, memory=4096, timeout=1800)
def write(question, model_name=SMALL, most_tokens=300):
    """The model's answer. It is printed as it is made."""
    from mlx_lm import stream_generate

    model, tokenizer = loaded(model_name)[:2]
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    answer = ""
    for part in stream_generate(model, tokenizer, prompt, max_tokens=most_tokens):
        print(part.text, end="", flush=True)
        answer += part.text
    print()
    return answer


def main():
    question, *more = sys.argv[1:] or ["What is the sea made of? One sentence."]
    answer = write.remote(question, *more[:1])
    print(f"{len(answer.split())} words")


if __name__ == "__main__":
    main()
