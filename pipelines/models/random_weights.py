"""Builds Llama models with random weights, for benchmarks: `python -m pipelines.models.random_weights`.

Their text means nothing; their speed is that of a trained model of the same shape. They carry the tokenizer of the
shipped arithmetic model. Knows nothing of engines or of benchmarks.
"""

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import torch
from safetensors.torch import save_file

from pipelines.models import ARITHMETIC_MODEL

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
INITIAL_SPREAD = 0.02
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a Llama model; the output layer shares the weights of the embedding."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int = 512
    context_tokens: int = 4096

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, as Hugging Face's LlamaForCausalLM names them."""
        head = self.hidden // self.heads
        tensors: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (self.vocabulary, self.hidden)}
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}"
            tensors |= {
                f"{prefix}.input_layernorm.weight": (self.hidden,),
                f"{prefix}.self_attn.q_proj.weight": (self.heads * head, self.hidden),
                f"{prefix}.self_attn.k_proj.weight": (self.kv_heads * head, self.hidden),
                f"{prefix}.self_attn.v_proj.weight": (self.kv_heads * head, self.hidden),
                f"{prefix}.self_attn.o_proj.weight": (self.hidden, self.heads * head),
                f"{prefix}.post_attention_layernorm.weight": (self.hidden,),
                f"{prefix}.mlp.gate_proj.weight": (self.intermediate, self.hidden),
                f"{prefix}.mlp.up_proj.weight": (self.intermediate, self.hidden),
                f"{prefix}.mlp.down_proj.weight": (self.hidden, self.intermediate),
            }
        return tensors | {"model.norm.weight": (self.hidden,)}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(torch.Size(shape).numel() for shape in self.tensors().values())


NAMED_SHAPES = {
    "3M": Shape(layers=4, hidden=256, heads=4, kv_heads=2, intermediate=704),
    "13M": Shape(layers=8, hidden=384, heads=6, kv_heads=2, intermediate=1024, vocabulary=1024),
    "50M": Shape(layers=12, hidden=640, heads=10, kv_heads=2, intermediate=1728, vocabulary=1024),
    "500M": Shape(layers=24, hidden=1280, heads=20, kv_heads=4, intermediate=3456, vocabulary=32_000),
    "1B": Shape(layers=16, hidden=2048, heads=32, kv_heads=8, intermediate=8192, vocabulary=32_000),
    "8B": Shape(layers=32, hidden=4096, heads=32, kv_heads=8, intermediate=14_336, vocabulary=128_256),
}


def build(folder: Path, shape: Shape, *, seed: int = 0, dtype: str = "bfloat16", config_only: bool = False) -> None:
    """Writes a model folder; the same shape, seed and dtype give the same bytes.

    `config_only` leaves the weights out, for engines that make their own (vLLM: `load_format=dummy`).
    Raises ValueError for a shape that no Llama model can have, and for an unknown dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    check_shape(shape)
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(ARITHMETIC_MODEL / name, folder / name)
    (folder / "tokenizer.json").write_text(tokenizer_of(shape))
    (folder / "config.json").write_text(json.dumps(config_of(shape, dtype), indent=2) + "\n")
    if not config_only:
        save_file(random_tensors(shape, seed, DTYPES[dtype]), folder / "model.safetensors", metadata={"format": "pt"})


def check_shape(shape: Shape) -> None:
    """Raises ValueError naming the sizes that do not fit together."""
    shipped = json.loads((ARITHMETIC_MODEL / "config.json").read_text())["vocab_size"]
    if shape.vocabulary < shipped:
        raise ValueError(f"vocabulary {shape.vocabulary} is smaller than the {shipped} tokens of the tokenizer")
    if shape.hidden % shape.heads or shape.hidden // shape.heads % 2:
        raise ValueError(f"hidden {shape.hidden} does not divide into {shape.heads} heads of an even size")
    if shape.heads % shape.kv_heads:
        raise ValueError(f"heads {shape.heads} is not a multiple of kv_heads {shape.kv_heads}")


def tokenizer_of(shape: Shape) -> str:
    """The tokenizer.json of the shape: the shipped one, and a word for each token that it does not have.

    No text is encoded as these words. They are for answers: a token without a text is decoded as no real one is.
    """
    tokenizer = json.loads((ARITHMETIC_MODEL / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    for token in range(len(vocabulary), shape.vocabulary):
        vocabulary["\u0120zz" + "".join(ascii_lowercase[token // 26**place % 26] for place in range(4))] = token
    return json.dumps(tokenizer)


def config_of(shape: Shape, dtype: str) -> dict[str, object]:
    """The config.json of the shape, with the special tokens of the shipped tokenizer."""
    shipped = json.loads((ARITHMETIC_MODEL / "config.json").read_text())
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": dtype,
        "torch_dtype": dtype,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.hidden // shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context_tokens,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": shipped["bos_token_id"],
        "eos_token_id": shipped["eos_token_id"],
        "pad_token_id": shipped["pad_token_id"],
    }


def random_tensors(shape: Shape, seed: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Normal weights of spread 0.02; the norms are ones."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.ones(size, dtype=dtype)
        if len(size) == 1
        else torch.empty(size).normal_(0.0, INITIAL_SPREAD, generator=generator).to(dtype)
        for name, size in shape.tensors().items()
    }


def main() -> None:
    """Reads the flags and builds one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--parameters", choices=NAMED_SHAPES, required=True, help="size of the model")
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--config-only", action="store_true", help="no weights: the engine makes its own")
    options = parser.parse_args()
    shape = NAMED_SHAPES[options.parameters]
    build(options.output, shape, seed=options.seed, dtype=options.dtype, config_only=options.config_only)
    print(f"{options.output}: {shape.parameters:,} parameters")


if __name__ == "__main__":
    main()
