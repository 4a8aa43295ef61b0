"""What a job costs: beside plain vLLM, per row of our own work, and in memory. Not part of the distribution."""
