"""A file of requests through a server, with OpenAI's client: `python openai_batch.py REQUESTS.jsonl RESULTS.jsonl`.

Reads OPENAI_BASE_URL and OPENAI_API_KEY, as every program with that client does.
"""

import sys
import time
from pathlib import Path

from openai import OpenAI

requests, results = map(Path, sys.argv[1:])
client = OpenAI(max_retries=10)

file = client.files.create(file=requests, purpose="batch")
batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
print(f"{batch.id}: {batch.status}")

while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
    time.sleep(1)
    batch = client.batches.retrieve(batch.id)

print(f"{batch.id}: {batch.status}, {batch.request_counts}")
if batch.output_file_id:
    client.files.content(batch.output_file_id).write_to_file(results)
if batch.error_file_id:
    print(client.files.content(batch.error_file_id).text)
