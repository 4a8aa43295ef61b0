"""The face of OpenAI's files, uploads, batches and models. Knows no other face."""
