"""Bytes and lines in stores: `uri` parses addresses, `stores` keeps objects, `datasets` finds files and reads lines.

Knows nothing of jobs, Ray or vLLM.
"""
