"""What an admin makes: accounts, keys and models, under the server's root. Knows nothing of files and jobs."""
