"""Each attack that a row, a file, an address or an id could try, tried. All of them are refused before anything runs.

Beside this file: who may reach a server and its keys, `tests/unit/test_pipelines_cluster_connect.py`; bombs and lines
without end, `tests/e2e/test_large_inputs.py`; texts that drive a terminal,
`tests/unit/test_batch_cli_output_progress.py`.
"""

import ast
import base64
import gzip
import os
import pickle
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from specs import FILE, chat_line, job_spec, line_of

from batch.errors import BatchError, UsageError
from batch.planning.plan import make_plan
from batch.result import Code, RowFailure, printable
from batch.rows.request import ENDPOINTS, Decoder
from batch.spec.engine_arguments import command_line_words
from batch.workspace.store import checked_id
from connectors.datasets.reader import find_inputs, scan
from connectors.errors import BadUri, Forbidden, InputError, StoreError, UnsupportedFormat
from connectors.stores.registry import locate, open_store

ROOT = Path(__file__).parents[2]
SECRET = b'{"prompt":"secret"}\n'


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here asks the network anything, not even for a name."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder with symbolic links that lead out of it, to a secret beside it that must stay as it is."""
    (tmp_path / "secret.jsonl").write_bytes(SECRET)
    root = tmp_path / "root"
    root.mkdir()
    (root / "file.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (root / "folder").symlink_to(tmp_path, target_is_directory=True)
    yield root
    assert (tmp_path / "secret.jsonl").read_bytes() == SECRET
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "secret.jsonl"]


@pytest.mark.parametrize(
    "address",
    [
        "simplecache::s3://bucket/in.jsonl",
        "filecache::file:///etc/passwd",
        "zip://in.jsonl::file:///tmp/a.zip",
        "http://169.254.169.254/latest/meta-data/in.jsonl",
        "https://example.org/in.jsonl",
        "ftp://example.org/in.jsonl",
        "github://org:repo@main/in.jsonl",
        "ssh://host/in.jsonl",
        "hdfs://host/in.jsonl",
        "reference://x/in.jsonl",
        "data:application/json,{}",
        "local:///etc/passwd",
        "file://host/etc/passwd",
        "file:///in/../../etc/passwd",
        "file:///in/%2e%2e/%2E%2E/etc/passwd",
        "file:///in/%2fetc",
        "file:///in.jsonl%00.gz",
        "s3://bucket/../other/in.jsonl",
        "s3://bucket/%2e%2e/in.jsonl",
        "s3://key:secret@bucket/in.jsonl",
        "s3://169.254.169.254:80/in.jsonl",
        "s3://bucket/in.jsonl\r\nHost: evil",
        "/in.jsonl\0.gz",
        "memory://a/../b/in.jsonl",
    ],
)
def test_an_address_that_is_more_than_it_seems_is_refused(address: str) -> None:
    for use in (open_store, locate, lambda text: find_inputs([text])):
        with pytest.raises(BadUri) as refusal:
            use(address)
        assert "secret" not in str(refusal.value)
        assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "key",
    [
        "../secret.jsonl",
        "a/../../secret.jsonl",
        "./../secret.jsonl",
        "..",
        "/etc/passwd",
        "",
        "a//b",
        "secret.jsonl\0",
        "%2e%2e/secret.jsonl",
        "..%2fsecret.jsonl",
        "..\\secret.jsonl",
        "file.jsonl",
        "folder/secret.jsonl",
    ],
)
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_key_stays_below_the_root_of_its_store(root: Path, key: str, kind: str) -> None:
    name = uuid.uuid4().hex
    if kind == "memory":
        open_store(f"memory://{name}").put("secret.jsonl", SECRET)
    store = open_store(str(root) if kind == "file" else f"memory://{name}/root")
    for read in (store.get, store.head, lambda key: store.get_range(key, 0, 9), store.open):
        with pytest.raises((StoreError, InputError)):
            read(key)
    assert not any(info.key.endswith("secret.jsonl") for info in store.list(""))


@pytest.mark.parametrize("key", ["../secret.jsonl", "a/../../secret.jsonl", "folder/secret.jsonl", "folder/new.jsonl"])
def test_nothing_is_written_or_deleted_outside_the_root(root: Path, key: str) -> None:
    store = open_store(str(root))
    for write in (store.create, store.put, lambda key, _: store.delete(key)):
        with pytest.raises(Forbidden):
            write(key, b"overwritten")


def test_writing_to_a_link_replaces_the_link_and_not_what_it_leads_to(root: Path) -> None:
    open_store(str(root)).put("file.jsonl", b"ours")

    assert (root / "file.jsonl").read_bytes() == b"ours"


@pytest.mark.parametrize("name", ["..", ".", "../jobs", "a/b", "a\0", "", "a" * 65, "a%2e", "a\n", "-rf /", "é", "a.b"])
def test_an_id_is_a_name_and_no_path(name: str) -> None:
    with pytest.raises(UsageError):
        checked_id(name)
    with pytest.raises(BatchError):
        job_spec(job_id=name)


def failure_of(line: object, **spec: object) -> RowFailure:
    decoded = Decoder(job_spec(**spec)).decode(FILE, line_of(line))
    assert isinstance(decoded, RowFailure), decoded
    return decoded


ADDRESSES = [
    "http://127.0.0.1:8000/a.png",
    "http://localhost/a.png",
    "http://10.0.0.1/a.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://127.0.0.1.nip.io/",
    "http://example.org@127.0.0.1/",
    "https://example.org/redirects-to-loopback.png",
    "HTTPS://example.org/a.png",
    "//example.org/a.png",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "/etc/passwd",
    "s3://bucket/a.png",
    "ftp://example.org/a.png",
    " data:image/png;base64,AA",
    "DATA:text/plain,x",
    "http://data:@example.org/",
    "",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("kind", ["image_url", "audio_url", "video_url", "file_url"])
def test_media_at_any_address_is_refused_and_not_asked_for(address: str, kind: str) -> None:
    """Whatever a name resolves or redirects to: no address is let through, so that none is looked up."""
    for given in (address, {"url": address}, {"detail": "low", "url": address}):
        for part in ({"type": kind, kind: given}, {"type": "text", "text": "x", kind: given}):
            message = {"role": "user", "content": [part]}
            assert failure_of(chat_line(messages=[message])).code == Code.MEDIA_FORBIDDEN
            row = {"custom_id": "a", "url": "/v1/responses", "body": {"input": [message]}}
            assert failure_of(row).code == Code.MEDIA_FORBIDDEN


def test_a_row_cannot_hide_an_address_from_the_check() -> None:
    raw = orjson.dumps(chat_line(messages=[{"role": "user", "content": [{"image_url": "http://x"}]}]))
    for written in (b"image\\u005furl", b"\\u0069mage_url", b"\\u0069\\u006d\\u0061\\u0067\\u0065\\u005f\\u0075rl"):
        assert failure_of(raw.replace(b"image_url", written)).code == Code.MEDIA_FORBIDDEN
    template = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{link}"}}]}]
    assert failure_of({"link": "http://127.0.0.1/"}, messages_template=template).code == Code.MEDIA_FORBIDDEN


@pytest.mark.parametrize("url", ENDPOINTS)
@pytest.mark.parametrize(
    "smuggled",
    [
        {"chat_template": "{{ 'a' * 10**8 }}"},
        {"chat_template_kwargs": {"chat_template": "{{ ''.__class__.__mro__ }}"}},
        {"chat_template_kwargs": {"chat_template": None}},
        {"mm_processor_kwargs": {"trust_remote_code": True}},
    ],
)
def test_a_row_brings_neither_a_template_nor_code(url: str, smuggled: dict[str, object]) -> None:
    body = {"messages": [], "prompt": "x", "input": "x", **smuggled}

    failure = failure_of({"custom_id": "a", "url": url, "body": body})

    assert (failure.code, failure.field) == (Code.INVALID_PARAMETER, *smuggled)


def test_a_row_is_no_template_of_the_job() -> None:
    """A field's value is put in as it is; braces in it name nothing."""
    decoder = Decoder(job_spec(prompt_template="{a} {b}"))
    request = decoder.decode(FILE, line_of({"a": "{b.__class__} {{b}}", "b": "{a}"}))

    assert not isinstance(request, RowFailure)
    assert request.body["messages"][0]["content"] == "{b.__class__} {{b}} {a}"
    for template in ("{a.__class__}", "{a[0]}", "{a!r}", "{a:>10}"):
        with pytest.raises(UsageError):
            Decoder(job_spec(prompt_template=template))


def test_code_of_a_model_is_trusted_only_where_the_job_says_so() -> None:
    trusts = ("trust_remote_code", "trust_request_chat_template", "trust_request_mm_kwargs")
    asked = command_line_words(dict(job_spec().engine_args))
    for name in trusts:
        assert f"--{name.replace('_', '-')}" not in asked
        assert command_line_words({name: True}) == [f"--{name.replace('_', '-')}"]


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.csv", "in.parquet"])
def test_a_pickle_is_bytes_and_is_never_run(tmp_path: Path, name: str) -> None:
    payload = pickle.dumps(_Touch(tmp_path / "run"))
    (tmp_path / name).write_bytes(gzip.compress(payload) if name.endswith("gz") else payload)
    spec = job_spec(inputs=(f"file://{tmp_path / name}",))
    try:
        lines = [line for _, line in scan(find_inputs(spec.inputs)[0], max_line_bytes=1000)]
        make_plan(spec)
    except UnsupportedFormat:
        assert name in ("in.parquet", "in.csv")
    else:
        assert all(isinstance(Decoder(spec).decode(FILE, line), RowFailure) for line in lines if not line.is_blank)
    assert not (tmp_path / "run").exists()
    pickle.loads(payload)
    assert (tmp_path / "run").exists()


@pytest.mark.parametrize("nest", [lambda kind: kind, pa.list_, lambda kind: pa.struct([("inner", kind)])])
def test_a_pickle_inside_a_parquet_file_is_never_run(tmp_path: Path, nest: object) -> None:
    """Where Ray is imported, its own Arrow type would unpickle each cell that is read."""
    from ray.data._internal.object_extensions.arrow import ArrowPythonObjectType

    pickled = pickle.dumps(_Touch(tmp_path / "run"))
    cells = pa.array([pickled], pa.large_binary())
    evil = pa.ExtensionArray.from_storage(ArrowPythonObjectType(), cells)
    assert callable(nest)
    wanted = nest(evil.type)
    if pa.types.is_list(wanted):
        evil = pa.ListArray.from_arrays([0, 1], evil)
    elif pa.types.is_struct(wanted):
        evil = pa.StructArray.from_arrays([evil], ["inner"])
    pq.write_table(pa.table({"prompt": evil}), tmp_path / "in.parquet")

    [(_, line)] = scan(find_inputs([str(tmp_path / "in.parquet")])[0], max_line_bytes=1000)
    assert base64.b64encode(pickled) in line.raw
    assert not (tmp_path / "run").exists()


def _loads_code(node: ast.AST) -> bool:
    """Whether a piece of source imports a pickler, or loads with one what numpy and torch read."""
    picklers = {"pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "ray.cloudpickle", "_pickle"}
    if isinstance(node, ast.Import):
        return any(alias.name in picklers for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in picklers or any(f"{node.module}.{alias.name}" in picklers for alias in node.names)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func)
        is_safe = any(word.arg == "weights_only" and ast.unparse(word.value) == "True" for word in node.keywords)
        return any(word.arg == "allow_pickle" for word in node.keywords) or (called == "torch.load" and not is_safe)
    return isinstance(node, ast.Name) and node.id in ("eval", "exec")


def test_no_file_is_read_by_running_it() -> None:
    for bad in ("import pickle", "from ray import cloudpickle", "torch.load(f)", "np.load(f, allow_pickle=True)"):
        assert any(map(_loads_code, ast.walk(ast.parse(bad)))), bad
    for package in ("connectors", "batch", "pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            found = [node for node in ast.walk(ast.parse(path.read_text())) if _loads_code(node)]
            assert not found, f"{path}: {[ast.unparse(node) for node in found]}"


@pytest.mark.parametrize("nasty", ["\x1b[2J", "\x00", "\x9b31m", "\x7f", "\r\n", "\u2028", "\u202e", "\ud800"])
def test_what_a_row_says_is_told_without_its_control_characters(nasty: str) -> None:
    assert nasty not in printable(f"before{nasty}after")
    if nasty != "\ud800":
        failure = failure_of(chat_line(temperature=f"hot{nasty}"))
        assert printable(failure.message).isascii()
