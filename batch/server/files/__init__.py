"""The files of an account: what was uploaded, whole or in parts, and what jobs wrote. Knows no face."""
