import pytest
from specs import job_spec

from batch.rows.columns import needed_columns

TABLE = ["id", "question", "answer", "image", "custom_id"]


@pytest.mark.parametrize(
    ("spec", "names", "needed"),
    [
        ({}, TABLE, TABLE),
        ({"prompt_template": "{question}"}, TABLE, ["question", "custom_id"]),
        (
            {"prompt_template": "{question}", "id_field": "id", "carry": ("answer",)},
            TABLE,
            ["id", "question", "answer"],
        ),
        ({"messages_template": [{"role": "user", "content": "{image}"}]}, TABLE, ["image", "custom_id"]),
        ({"prompt_template": "{question}"}, [*TABLE, "prompt"], [*TABLE, "prompt"]),
        ({"prompt_template": "{nowhere}"}, ["a"], []),
    ],
)
def test_a_template_says_which_columns_are_read(spec: dict[str, object], names: list[str], needed: list[str]) -> None:
    assert needed_columns(job_spec(**spec))(names) == needed
