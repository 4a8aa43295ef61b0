"""The jobs of an account, and what was asked of each beyond its spec. Knows no face, and starts nothing."""
