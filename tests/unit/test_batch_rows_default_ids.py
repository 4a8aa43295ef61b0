import pytest

from batch.rows.default_ids import common_root, label


@pytest.mark.parametrize(
    ("inputs", "file", "called"),
    [
        (["file:///d/rows.jsonl"], "file:///d/rows.jsonl", "rows.jsonl"),
        (["s3://b/in/*.jsonl"], "s3://b/in/a.jsonl", "a.jsonl"),
        (["s3://b/in/*/a.jsonl"], "s3://b/in/x/a.jsonl", "x/a.jsonl"),
        (["s3://b/in/x*/a.jsonl"], "s3://b/in/x1/a.jsonl", "x1/a.jsonl"),
        (["s3://b/in"], "s3://b/in/x/a.jsonl", "in/x/a.jsonl"),
        (["file:///d/one/a.jsonl", "file:///d/onetwo/a.jsonl"], "file:///d/one/a.jsonl", "one/a.jsonl"),
        (["s3://b/a.jsonl", "s3://c/a.jsonl"], "s3://c/a.jsonl", "c/a.jsonl"),
        (["s3://b/a.jsonl", "file:///d/a.jsonl"], "s3://b/a.jsonl", "s3://b/a.jsonl"),
        ([], "s3://b/a.jsonl", "s3://b/a.jsonl"),
    ],
)
def test_a_file_is_called_by_its_path_under_what_all_inputs_share(inputs: list[str], file: str, called: str) -> None:
    assert label(common_root(inputs), file) == called
