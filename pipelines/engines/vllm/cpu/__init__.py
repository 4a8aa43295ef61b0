"""What serves vLLM's CPU build only. Nothing of it is loaded where there is a GPU."""
