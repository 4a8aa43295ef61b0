"""The face of OpenAI's files, uploads, batches and models."""
