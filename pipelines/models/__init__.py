"""Small models that need no download: where the shipped one lies, how it was trained, how to build others.

Knows nothing of jobs.
"""

from pathlib import Path

ARITHMETIC_MODEL = Path(__file__).parent / "arithmetic"
"""Folder of the shipped chat model (Hugging Face layout, bfloat16 safetensors) that answers arithmetic questions."""
