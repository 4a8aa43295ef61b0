"""LoRA adapters of the shipped model, made from a seed; and that model with one in its weights, in Transformers."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipelines.models import ARITHMETIC_MODEL

RANK, ALPHA = 8, 16
MODULES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.down_proj")
SPREAD = 0.12
"""Of the weights: the model still speaks, and says something else."""


def write_adapter(folder: Path, seed: int) -> Path:
    """Write an adapter whose answers differ from the model's own; return its folder."""
    folder.mkdir(parents=True)
    names = [module.rpartition(".")[2] for module in MODULES]
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "target_modules": names}
    (folder / "adapter_config.json").write_text(json.dumps(config | {"bias": "none", "modules_to_save": None}))
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, weight in _weights().items():
        outputs, inputs = weight.shape
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.empty(RANK, inputs).normal_(
            0, SPREAD, generator=random
        )
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.empty(outputs, RANK).normal_(
            0, SPREAD, generator=random
        )
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def model_with(adapter: Path | None) -> Any:
    """The shipped model in float32, with the adapter added to its weights."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(ARITHMETIC_MODEL, dtype="float32")
    if adapter is not None:
        parts = load_file(adapter / "adapter_model.safetensors")
        for name in _weights():
            low, high = (parts[f"base_model.model.{name}.lora_{half}.weight"] for half in "AB")
            model.get_parameter(f"{name}.weight").data += ALPHA / RANK * (high @ low)
    return model


def _weights() -> dict[str, torch.Tensor]:
    """The model's weights that an adapter changes, by the names of their modules."""
    found = load_file(ARITHMETIC_MODEL / "model.safetensors")
    return {name.removesuffix(".weight"): found[name] for name in found if any(part in name for part in MODULES)}
