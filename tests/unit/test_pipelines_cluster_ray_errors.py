"""The one sentence out of what Ray raises."""

import pytest
from ray.data.exceptions import SystemException
from ray.exceptions import ActorDiedError, RayTaskError

from batch.errors import InputChanged, JobFailed
from connectors.errors import Changed, Forbidden, StoreError, Unavailable
from pipelines.cluster.ray_errors import job_failures
from pipelines.errors import first_sentence, told


def task_error(cause: Exception) -> Exception:
    """As Ray Data raises what an actor raised: with advice of its own, in a task's error that is of the same kind."""
    cause.args = (f"{cause.args[0]}\nFailed to apply UDF transform after 1/1 attempts.\nTo change ...", *cause.args[1:])
    error = RayTaskError("MapWorker.submit", "Traceback ...", cause)
    raised = error.as_instanceof_cause()
    assert isinstance(raised, Exception)
    return raised


def raised_for(error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as raised, job_failures():  # noqa: PT011
        raise error
    return raised.value


@pytest.mark.parametrize("cause", [InputChanged("a.jsonl changed"), JobFailed("no model"), Unavailable("503")])
def test_our_own_errors_come_out_as_they_went_in(cause: Exception) -> None:
    said = str(cause)

    assert raised_for(task_error(cause)) is cause
    assert isinstance(cause, JobFailed | StoreError)
    assert str(cause) == said


def test_the_cause_is_found_in_groups_of_groups() -> None:
    cause = JobFailed("the endpoint is gone")
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("inner", [cause])])

    assert raised_for(task_error(group)) is cause


def test_our_error_goes_before_what_caused_it() -> None:
    cause = InputChanged("a.jsonl changed; start a new job")
    cause.__cause__ = Changed("etag")

    assert raised_for(task_error(cause)) is cause


def test_any_other_error_becomes_a_sentence_of_one_line() -> None:
    raised = raised_for(task_error(ExceptionGroup("unhandled", [ValueError("bad shape\nsecond line")])))

    assert isinstance(raised, JobFailed)
    assert str(raised) == "ValueError: bad shape (the log has the whole story)"


def test_a_dead_actor_says_that_the_engine_died_too_often() -> None:
    raised = raised_for(as_ray_data_raises(ActorDiedError()))

    assert isinstance(raised, JobFailed)
    assert "died too often" in str(raised)
    assert "\n" not in str(raised)


def test_an_actor_that_cannot_be_made_says_why() -> None:
    creation = RayTaskError(
        "MapWorker.__init__", "Traceback ...\nForbidden: no rights to s3://b/out", Forbidden("no rights")
    )

    raised = raised_for(as_ray_data_raises(ActorDiedError(creation)))

    assert isinstance(raised, JobFailed)
    assert str(raised).startswith("An engine actor cannot start: Forbidden: no rights to s3://b/out (")


def as_ray_data_raises(error: Exception) -> Exception:
    """Ray Data puts an empty cause under what is no user's exception."""
    error.__cause__ = SystemException()
    return error


def test_what_does_not_come_from_ray_passes() -> None:
    error = KeyboardInterrupt()

    assert raised_for(error) is error


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bad shape\nsecond line", "bad shape"),
        ("\n  bad shape \n", "bad shape"),
        ("none of: \n(1) a file, \n(2) a class", "none of: (1) a file, (2) a class"),
        (
            "1 validation error for ModelConfig\n  Value error, no config for awq [type=value, x=1]\n more",
            "no config for awq",
        ),
        (
            "2 validation errors for Sizes\nseqs\n  Input should be greater than 0 [type=x, i=0]\nx\n  y [type=",
            "seqs: Input should be greater than 0",
        ),
        (
            "argument --cc: 1 validation error for C\n  Input should be an object [type=x]",
            "argument --cc: Input should be an object",
        ),
        ("1 validation error for M\n  Value error, no such thing.\n\nTry another. [type=value]", "no such thing."),
        ("", ""),
    ],
)
def test_a_text_of_many_lines_is_told_by_its_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_an_errors_kind_is_told_where_it_says_something() -> None:
    assert told(KeyError("lm_head.weight")) == "KeyError: 'lm_head.weight'"
    assert told(Exception("no weights")) == "no weights"
