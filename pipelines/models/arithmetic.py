"""Trains the small chat model that ships with batchctl: `python -m pipelines.models.arithmetic --output DIR`.

A Llama-style model answers sums, differences and products with the plain number. Needs no data set and no GPU:
two busy cores take 20 minutes. The shipped model (defaults, seed 0) has 0.82 M parameters and answers 99 % of 1,000
held-out questions right. Words it does not know after the numbers may make it decline.
Knows nothing of batch jobs or of the engines that serve the model.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pipelines.models.lessons import HARDEST, IGNORED_LABEL, draw_chat, lessons
from pipelines.models.questions import held_out_questions
from pipelines.models.tokenizer import CONTEXT_TOKENS, END, train_tokenizer

HEAD_SIZE = 32
WARMUP_STEPS = 50
DECAY_SHARE = 0.45
MEASURED_EVERY = 250
MAX_ANSWER_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Recipe:
    """Size of the model and length of the training."""

    hidden: int
    layers: int
    steps: int
    batch_tokens: int
    learning_rate: float
    seed: int

    def learning_rate_at(self, step: int) -> float:
        """Rises for a few steps, stays, then falls to nothing in a straight line."""
        falling = (self.steps - step) / (DECAY_SHARE * self.steps)
        return self.learning_rate * min(1.0, step / WARMUP_STEPS, max(falling, 0.01))


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A fresh model for the tokenizer."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden // HEAD_SIZE,
        num_key_value_heads=recipe.hidden // HEAD_SIZE,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def optimizers(model: LlamaForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the embedding and the norms.

    On bare problems of two digits the loss is 0.25 after 300 steps; with AdamW alone it is 1.0.
    """
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed" not in name else others).append(weight)
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def answer_loss(model: LlamaForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the labelled tokens; logits are computed at those positions only."""
    targets = labels[:, 1:]
    is_answer = targets != IGNORED_LABEL
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    return functional.cross_entropy(model.lm_head(hidden[is_answer]), targets[is_answer])


def answer_all(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, chats: Sequence[list[dict[str, str]]]
) -> list[str]:
    """The model's answer to each chat at temperature 0; one that does not end in time is marked with an ellipsis."""
    prompts = tokenizer.apply_chat_template(list(chats), add_generation_prompt=True, tokenize=False)
    encoded = tokenizer(prompts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    output = model.generate(
        input_ids=encoded["input_ids"],
        attention_mask=encoded["attention_mask"],
        max_new_tokens=MAX_ANSWER_TOKENS,
        do_sample=False,
    )
    answers = tokenizer.batch_decode(output[:, encoded["input_ids"].shape[1] :], skip_special_tokens=False)
    return [answer.split(END)[0] if END in answer else answer + "…" for answer in answers]


def accuracy(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[tuple[str, str]]
) -> float:
    """Share of the questions answered exactly right, end token included."""
    answers = answer_all(model, tokenizer, [[{"role": "user", "content": question}] for question, _ in questions])
    return sum(given == right for given, (_, right) in zip(answers, questions, strict=True)) / len(questions)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes the model in bfloat16 with its tokenizer; the model in memory stays in float32."""
    half = LlamaForCausalLM(model.config).to(torch.bfloat16)
    half.load_state_dict(model.state_dict())
    half.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    half.save_pretrained(folder)
    tokenizer.backend_tokenizer.no_padding()  # answer_all leaves its padding behind
    tokenizer.save_pretrained(folder)


def train(recipe: Recipe, folder: Path) -> None:
    """Trains from nothing and leaves the best model so far in `folder` whenever it is measured."""
    torch.manual_seed(recipe.seed)
    random = Random(recipe.seed)
    tokenizer = train_tokenizer(draw_chat(random, HARDEST).text for _ in range(20_000))
    model = build_model(recipe, tokenizer)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens", flush=True)
    questions = held_out_questions(400, recipe.seed)
    steppers = optimizers(model, recipe.learning_rate)
    batches = lessons(tokenizer, steps=recipe.steps, batch_tokens=recipe.batch_tokens, random=random)
    best = 0.0
    began = time.monotonic()
    for step, (ids, labels) in enumerate(batches, 1):
        loss = learn(model, steppers, answer_loss(model, ids, labels), rate=recipe.learning_rate_at(step))
        if step % MEASURED_EVERY == 0 or step == recipe.steps:
            right = accuracy(model, tokenizer, questions)
            print(f"step {step}: loss {loss:.4f}, {right:.1%} right, {time.monotonic() - began:.0f} s", flush=True)
            if right >= best:
                best = right
                save(model, tokenizer, folder)


def learn(
    model: LlamaForCausalLM, steppers: Sequence[torch.optim.Optimizer], loss: torch.Tensor, *, rate: float
) -> float:
    """One step of every optimizer at the learning rate; returns the loss."""
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for stepper in steppers:
        for group in stepper.param_groups:
            group["lr"] = rate
        stepper.step()
        stepper.zero_grad(set_to_none=True)
    return float(loss.item())


def main() -> None:
    """Reads the flags and trains."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch-tokens", type=int, default=2560)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    folder = options.pop("output")
    train(Recipe(**options), folder)


if __name__ == "__main__":
    main()
