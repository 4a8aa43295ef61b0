"""Shards while they run: rows read, admitted in order, answered once, kept, and committed.

Knows the protocol of engines, and nothing of processes, Ray and vLLM.
"""
