"""Which job starts next: pure decisions from stored facts. Knows no store, no clock and no process."""
