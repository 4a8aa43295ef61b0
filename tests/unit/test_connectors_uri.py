import os
from pathlib import Path

import pytest

from connectors.errors import BadUri
from connectors.uri import Uri, join, parse_pattern, parse_uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3://bucket/a/b.jsonl", Uri("s3", "bucket", "a/b.jsonl")),
        ("s3://bucket/dir/", Uri("s3", "bucket", "dir")),
        ("s3://bucket", Uri("s3", "bucket", "")),
        ("S3://bucket/k", Uri("s3", "bucket", "k")),
        ("gs://my_bucket.example/k", Uri("gs", "my_bucket.example", "k")),
        ("az://container/k", Uri("az", "container", "k")),
        ("abfs://container/k", Uri("az", "container", "k")),
        ("memory://name/a", Uri("memory", "name", "a")),
        ("file:///a/b c.jsonl", Uri("file", "", "/a/b c.jsonl")),
        ("file:///a/b%20c%23.jsonl", Uri("file", "", "/a/b c#.jsonl")),
        ("file://localhost/a", Uri("file", "", "/a")),
        ("/a//b/./c/", Uri("file", "", "/a/b/c")),
        ("//a", Uri("file", "", "/a")),
        ("/", Uri("file", "", "/")),
    ],
)
def test_accepted(text: str, uri: Uri) -> None:
    assert parse_uri(text) == uri
    assert parse_uri(str(uri)) == uri


def test_bare_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert parse_uri("a.jsonl").path == f"{tmp_path}/a.jsonl"
    assert parse_uri("../a.jsonl").path == f"{tmp_path.parent}/a.jsonl"
    assert parse_uri("~/a.jsonl").path == "/home/someone/a.jsonl"
    assert parse_uri("./s3:odd.jsonl").path == f"{tmp_path}/s3:odd.jsonl"


@pytest.mark.parametrize("name", ["a#b", "a?b", "100%", "%2e", "日本 語", "a%20b", os.fsdecode(b"\xff.jsonl"), "a\\b"])
def test_any_local_name_survives_its_canonical_text(name: str) -> None:
    uri = parse_uri(f"/dir/{name}")
    assert uri.path == f"/dir/{name}"
    str(uri).encode()
    assert parse_uri(str(uri)) == uri


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://169.254.169.254/latest",
        "https://host/x.jsonl",
        "github://org:repo@/x",
        "data:,hello",
        "simplecache::s3://bucket/k",
        "zip://a::file:///x.zip",
        "s3:/bucket/k",
        "s3://bucket/../other/k",
        "s3://bucket/a/./k",
        "s3://bucket/%2e%2e/k",
        "s3://bucket/%2E%2E/k",
        "s3://bucket/a%2Fb",
        "s3://bucket/k?versionId=1",
        "s3://bucket/k#part",
        "s3://key:secret@bucket/k",
        "abfs://container@account.dfs.core.windows.net/k",
        "s3:///k",
        "s3://",
        "s3://bucket:9000/k",
        "file://host/etc/passwd",
        "file://relative",
        "file:///a/../etc/passwd",
        "file:///a/%2e%2e/etc/passwd",
        "file:///a%00b",
        "/a\0b",
        "s3://bucket/a\nb",
        "memory:x",
        "local://x",
        "/a::b",
        "/a\ud800b",
        "s3://bucket/a\udcff",
        "~no-such-user-here/x",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(BadUri) as refusal:
        parse_uri(text)
    assert isinstance(refusal.value, ValueError)


def test_a_refusal_names_what_is_allowed() -> None:
    with pytest.raises(BadUri, match=r"'http://host/x'.*s3://bucket/key"):
        parse_uri("http://host/x")


def test_a_secret_is_not_repeated() -> None:
    with pytest.raises(BadUri) as refusal:
        parse_uri("s3://key:secret@bucket/k")
    assert "secret" not in str(refusal.value)


def test_patterns_may_hold_wildcards() -> None:
    assert parse_pattern("s3://bucket/a?/*.jsonl").path == "a?/*.jsonl"
    with pytest.raises(BadUri):
        parse_pattern("s3://bucket/../*.jsonl")


def test_join() -> None:
    assert str(join(parse_uri("s3://bucket"), "a", "b/c")) == "s3://bucket/a/b/c"
    assert str(join(parse_uri("/out"), "results/part-0")) == "file:///out/results/part-0"
    assert join(parse_uri("/"), "a").path == "/a"
    assert join(parse_uri("memory://m")) == parse_uri("memory://m")


@pytest.mark.parametrize("part", ["", "..", "/a", "a/../b", "a//b", "a\0"])
def test_join_stays_below(part: str) -> None:
    with pytest.raises(BadUri, match="cannot join"):
        join(parse_uri("s3://bucket/root"), part)
