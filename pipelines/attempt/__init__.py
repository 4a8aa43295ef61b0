"""What goes on beside the rows of one attempt: its heartbeat and limits, its progress, the closing of the ledger.

Knows nothing of Ray and of vLLM.
"""
