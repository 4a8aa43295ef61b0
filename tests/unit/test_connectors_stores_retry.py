from dataclasses import replace

import pytest

from connectors.errors import NotFound, Unavailable
from connectors.stores.retry import Patience, Retried, Retry, Tally, retried, retries


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s


def retry_on(clock: Clock, fraction: float = 1.0, budget_s: float = 10.0) -> Retry:
    return Retry(
        budget_s=budget_s,
        first_delay_s=1.0,
        max_delay_s=4.0,
        sleep=clock.sleep,
        monotonic=lambda: clock.now_s,
        fraction=lambda: fraction,
    )


class Flaky:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "value"


def test_a_passing_failure_is_retried() -> None:
    clock, operation = Clock(), Flaky(Unavailable("503"), Unavailable("reset"))
    assert retry_on(clock).run(operation) == "value"
    assert operation.calls == 3
    assert clock.slept == [1.0, 2.0]


def test_delays_have_jitter_and_a_bound() -> None:
    clock = Clock()
    retry_on(clock, fraction=0.5, budget_s=100).run(Flaky(*[Unavailable("x")] * 5))
    assert clock.slept == [0.5, 1.0, 2.0, 2.0, 2.0]


def test_the_budget_ends_it() -> None:
    clock, operation = Clock(), Flaky(*[Unavailable("503 for s3://b/k")] * 99)
    with pytest.raises(Unavailable, match=r"503 for s3://b/k \(gave up after 4 tries in 7.0 s\)"):
        retry_on(clock).run(operation)
    assert clock.now_s <= 10.0


def test_other_errors_are_not_retried() -> None:
    clock, operation = Clock(), Flaky(NotFound("k"))
    with pytest.raises(NotFound):
        retry_on(clock).run(operation)
    assert operation.calls == 1
    assert clock.slept == []


def test_a_call_that_took_the_whole_budget_is_tried_once_more() -> None:
    clock = Clock()

    def hang() -> str:
        clock.now_s += 60
        raise Unavailable("timeout")

    with pytest.raises(Unavailable, match="gave up after 2 tries"):
        retry_on(clock).run(hang)


def test_what_was_retried_is_counted_by_verb() -> None:
    clock, tally = Clock(), Tally()
    retry = replace(retry_on(clock), tally=tally)
    retry.run(Flaky(Unavailable("503"), Unavailable("503")), verb="create")
    retry.run(Flaky(), verb="head")
    with pytest.raises(Unavailable):
        retry.run(Flaky(*[Unavailable("503")] * 99), verb="get")
    assert tally.read() == {"create": Retried(2, 3.0, 0), "get": Retried(3, 7.0, 1)}


def test_the_process_counts_what_it_retried() -> None:
    before = retried().get("list", Retried())
    retry_on(Clock()).run(Flaky(Unavailable("503")), verb="list")
    assert retried()["list"].tries == before.tries + 1
    assert retries() == sum(each.tries for each in retried().values()) > 0


def test_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    retry_on(Clock()).run(Flaky(Unavailable("s3://b/k: 503")), verb="put")
    assert caplog.messages == ["put: try 1 failed, the next one in 1.0 s: s3://b/k: 503"]


@pytest.mark.parametrize("away_s", [20.0, 60.0, 300.0])
def test_a_patient_process_outwaits_a_store_that_is_away(away_s: float) -> None:
    clock = Clock()

    def call() -> str:
        if clock.now_s < away_s:
            raise Unavailable("away")
        return "back"

    waiting = replace(retry_on(clock), budget_s=None, patience=Patience(600.0))
    assert waiting.run(call) == "back"


def test_patience_that_ends_while_a_call_waits_ends_the_wait() -> None:
    clock, patience = Clock(), Patience(600.0)

    def call() -> str:
        if clock.now_s > 100:
            patience.seconds = 5.0
        raise Unavailable("away")

    with pytest.raises(Unavailable, match=r"gave up after 28 tries in 103\.0 s"):
        replace(retry_on(clock), budget_s=None, patience=patience).run(call)
