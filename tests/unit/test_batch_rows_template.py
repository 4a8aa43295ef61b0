import pytest

from batch.errors import UsageError
from batch.rows.template import MessagesTemplate, MissingField, PromptTemplate


def test_a_prompt_template_makes_one_user_message() -> None:
    template = PromptTemplate("Q: {question} ({{{kind}}}) {question}")

    assert template.fields == {"question", "kind"}
    assert template.messages({"question": "1+1?", "kind": "sum"}) == [
        {"role": "user", "content": "Q: 1+1? ({sum}) 1+1?"}
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (1.5, "1.5"), (True, "true"), (["a", 1], '["a",1]'), ({"b": "é"}, '{"b":"é"}'), ("", "")],
)
def test_values_that_are_no_text_are_written_as_json(value: object, text: str) -> None:
    assert PromptTemplate("<{x}>").messages({"x": value})[0]["content"] == f"<{text}>"


def test_values_are_not_read_as_templates() -> None:
    template = PromptTemplate("{a} {b}")

    assert template.messages({"a": "{b} {{", "b": "2"})[0]["content"] == "{b} {{ 2"


def test_names_may_hold_spaces_and_letters_of_any_script() -> None:
    assert PromptTemplate("{Frage 1}{问}").messages({"Frage 1": "a", "问": "b"})[0]["content"] == "ab"


@pytest.mark.parametrize("row", [{}, {"x": None}])
def test_a_missing_field_is_named(row: dict[str, object]) -> None:
    with pytest.raises(MissingField) as raised:
        PromptTemplate("{x}").messages(row)

    assert raised.value.problem.field == "x"
    assert "the template needs this field" in raised.value.problem.message


@pytest.mark.parametrize(
    "text", ["{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{}", "{a", "a}", "{{a}} no field", "{__class__.__mro__}", "{a{b}}"]
)
def test_what_is_not_a_plain_field_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        PromptTemplate(text)


def test_a_messages_template_fills_texts_at_any_depth() -> None:
    template = MessagesTemplate(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "{q}"}], "weight": 1},
        ]
    )

    assert template.fields == {"q"}
    assert template.messages({"q": "1+1?"}) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "1+1?"}], "weight": 1},
    ]


@pytest.mark.parametrize("messages", [[], {}, ["hi"], [{"content": "{q}"}], [{"role": "user", "content": "{q.x}"}]])
def test_what_is_no_list_of_messages_is_refused(messages: list[dict[str, object]]) -> None:
    with pytest.raises(UsageError):
        MessagesTemplate(messages)
