"""The same with Fireworks' client 1.x: `python fireworks_batch.py REQUESTS.jsonl RESULTS.jsonl MODEL`.

Reads FIREWORKS_BASE_URL (without /v1), FIREWORKS_API_KEY and FIREWORKS_ACCOUNT_ID.
"""

import sys
import time
from pathlib import Path
from uuid import uuid4

import httpx
from fireworks import Fireworks

requests, results, model = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
client = Fireworks()

own_id = f"example-{uuid4().hex[:8]}"
client.datasets.create(dataset_id=own_id, dataset={"example_count": "1"})
client.datasets.upload(own_id, file=requests)
job = client.batch_inference_jobs.create(
    batch_inference_job_id=own_id, model=model, input_dataset_id=own_id, output_dataset_id=f"{own_id}-out"
)

while job.state in ("JOB_STATE_VALIDATING", "JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_WRITING_RESULTS"):
    time.sleep(1)
    job = client.batch_inference_jobs.get(own_id)

print(f"{job.name}: {job.state}, {job.job_progress}")
files = client.datasets.get_download_endpoint(f"{own_id}-out").filename_to_signed_urls or {}
(address,) = [url for name, url in files.items() if name.endswith(".jsonl")]
results.write_bytes(httpx.get(address).content)
