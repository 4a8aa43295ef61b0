"""`python -m batch` is batchctl."""

from batch.cli.main import main

if __name__ == "__main__":
    main()
