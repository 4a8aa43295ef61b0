"""The command line, batchctl: turns words into calls of the library and prints the answers. Holds no rules of jobs."""
