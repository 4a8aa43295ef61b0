"""OpenAI's client for Node, unmodified, and curl, against `batchctl serve`."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from servers import node_script
from serving import MODEL, Serving, requests, served

__all__ = ["served"]
pytestmark = pytest.mark.ray

EVERY_CALL = """
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI();
const said = {};
const content = fs.readFileSync(process.argv[2]);
const file = await client.files.create({ file: fs.createReadStream(process.argv[2]), purpose: "batch" });
said.file = await client.files.retrieve(file.id);
const create = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
let batch = await client.batches.create({ ...create, metadata: { of: "node" } });
while (["validating", "in_progress", "finalizing"].includes(batch.status)) {
  await new Promise((after) => setTimeout(after, 200));
  batch = await client.batches.retrieve(batch.id);
}
said.batch = batch;
said.results = await (await client.files.content(batch.output_file_id)).text();
said.listed = [];
for await (const each of client.files.list({ limit: 1 })) said.listed.push(each.id);
for await (const each of client.batches.list({ limit: 1 })) said.listed.push(each.id);
for await (const each of client.models.list()) said.listed.push(each.id);
const begun = await client.uploads.create({
  bytes: content.length, filename: "p.jsonl", mime_type: "application/jsonl", purpose: "batch",
});
const part = await client.uploads.parts.create(begun.id, { data: await toFile(content, "p") });
said.joined = await client.uploads.complete(begun.id, { part_ids: [part.id] });
said.cancelled = (await client.batches.cancel(batch.id)).status;
said.deleted = await client.files.delete(file.id);
try { await client.files.retrieve(file.id); } catch (error) { said.error = [error.status, error.code, error.param]; }
console.log(JSON.stringify(said));
"""


def test_every_call_of_the_node_client(served: Serving, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(requests(5))
    own = {"OPENAI_BASE_URL": served.url, "OPENAI_API_KEY": served.key("node")}
    command = [*node_script("every_call.mjs", EVERY_CALL), str(path)]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    assert (said["file"]["bytes"], said["file"]["filename"]) == (len(requests(5)), "in.jsonl")
    assert (said["batch"]["status"], said["batch"]["request_counts"]["completed"]) == ("completed", 5)
    assert [json.loads(line)["custom_id"] for line in said["results"].splitlines()] == [f"r{n}" for n in range(5)]
    batch_id = said["batch"]["id"]
    assert said["listed"] == [f"file-out-{batch_id}", said["file"]["id"], batch_id, MODEL]
    assert said["joined"]["file"]["bytes"] == len(requests(5))
    assert (said["cancelled"], said["deleted"]["deleted"]) == ("completed", True)
    assert said["error"] == [404, "not_found", "id"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_uploads_and_creates(served: Serving, tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(requests(1))

    def curl(route: str, *arguments: str) -> dict[str, object]:
        key = ["-H", f"Authorization: Bearer {served.key('curl')}"]
        command = ["curl", "-sS", "--fail-with-body", *key, f"{served.url}/{route}", *arguments]
        answer: dict[str, object] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return answer

    file = curl("files", "-F", "purpose=batch", "-F", f"file=@{path}")
    body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = curl("batches", "-H", "Content-Type: application/json", "-d", json.dumps(body))
    assert curl(f"batches/{batch['id']}")["input_file_id"] == file["id"]
    assert curl(f"batches/{batch['id']}/cancel", "-X", "POST")["id"] == batch["id"]
