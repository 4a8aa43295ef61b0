from dataclasses import dataclass

import pytest

from batch.errors import UsageError
from batch.workspace.filters import Value
from batch.workspace.listing import Listing, Query


@dataclass(frozen=True)
class Job:
    job_id: str
    state: str
    rows: int
    score: float | None = None
    display_name: str = ""
    stale: bool = False
    create_time: str = "2026-01-01T00:00:00.000000Z"


LISTING: Listing[Job] = Listing(
    fields={
        "job_id": lambda job: job.job_id,
        "state": lambda job: (job.state, f"JOB_STATE_{job.state}"),
        "rows": lambda job: job.rows,
        "score": lambda job: job.score,
        "display_name": lambda job: job.display_name,
        "stale": lambda job: job.stale,
        "create_time": lambda job: job.create_time,
    },
    key="job_id",
    default_order="job_id",
)
JOBS = [
    Job("a", "RUNNING", 10, 0.5, "Nightly run", create_time="2026-01-01T10:00:00.000000Z"),
    Job("b", "COMPLETED", 20, None, "nightly eval", stale=True, create_time="2026-01-02T10:00:00.000000Z"),
    Job("c", "COMPLETED", 30, 0.9, 'with "quotes"', create_time="2026-01-03T10:00:00.000000Z"),
    Job("d", "FAILED", 20, 0.1),
]


def ids(filter_text: str = "", order_by: str = "") -> str:
    return "".join(job.job_id for job in LISTING.page(JOBS, Query(filter_text, order_by)).items)


@pytest.mark.parametrize(
    ("filter_text", "found"),
    [
        ("", "abcd"),
        ("  ", "abcd"),
        ('state = "COMPLETED"', "bc"),
        ('state="JOB_STATE_COMPLETED"', "bc"),
        ("state=COMPLETED", "bc"),
        ("state='FAILED'", "d"),
        ("state != COMPLETED", "ad"),
        ("rows > 10", "bcd"),
        ("rows >= 20 AND rows <= 20", "bd"),
        ("rows < 20.5", "abd"),
        ("rows = 20", "bd"),
        ("score > 0.2", "ac"),
        ("score:*", "acd"),
        ("NOT score:*", "b"),
        ("display_name:*", "abc"),
        ("-score:*", "b"),
        ("stale = true", "b"),
        ("stale = false", "acd"),
        ('display_name : "night"', "b"),
        ('display_name = "night*"', "b"),
        ('display_name = "*run"', "a"),
        ('display_name = "*ight*"', "ab"),
        (r'display_name = "with \"quotes\""', "c"),
        ("displayName : 'eval'", "b"),
        ('create_time >= "2026-01-02"', "bc"),
        ('create_time < "2026-01-02T12:00:00+02:00"', "ad"),
        ("state=COMPLETED AND rows=20", "b"),
        ("state=COMPLETED rows=20", "b"),
        ("state=FAILED OR rows=10", "ad"),
        ("state=COMPLETED AND (rows=30 OR stale=true)", "bc"),
        # OR binds tighter than AND: COMPLETED and (30 or FAILED)
        ("state=COMPLETED AND rows=30 OR state=FAILED", "c"),
        ("NOT (state=COMPLETED OR state=FAILED)", "a"),
    ],
)
def test_a_filter_keeps(filter_text: str, found: str) -> None:
    assert ids(filter_text) == found


@pytest.mark.parametrize(
    ("filter_text", "said"),
    [
        ("status = 1", "'status' is no field of this list; it has create_time, display_name,"),
        ("state=COMPLETED OR typo=1", "'typo' is no field"),
        ("state", "expected one of = != < <= > >= :, found its end"),
        ("state =", "expected a value, found its end"),
        ("state = (COMPLETED)", "expected a value, found '(' at column 9"),
        ("(state = A", "expected ')', found its end"),
        ("state = A)", "expected the end, found ')' at column 10"),
        ("= A", "expected a field, found '=' at column 1"),
        ("AND state=A", "'AND' is no field"),
        ('state = "A', "cannot read"),
        ("rows > many", "'many' is not a number"),
        ("(" * 30 + "rows=1" + ")" * 30, "deeper than 20"),
        ("rows=1 " * 1000, "at most 2000"),
        ('create_time > "2026-99-01T00:00:00Z"', "not an RFC 3339 time"),
    ],
)
def test_a_filter_that_cannot_be_read_says_where(filter_text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        ids(filter_text)
    assert said in str(caught.value)


def test_unknown_fields_are_refused_also_in_an_empty_list() -> None:
    with pytest.raises(UsageError, match="no field"):
        LISTING.page([], Query("typo=1"))
    with pytest.raises(UsageError, match="no field"):
        LISTING.page([], Query(order_by="typo"))


@pytest.mark.parametrize(
    ("order_by", "found"),
    [
        ("job_id desc", "dcba"),
        ("rows", "abdc"),
        ("rows desc", "cbda"),
        ("rows desc, job_id desc", "cdba"),
        ("state, rows desc", "cbda"),
        ("score", "bdac"),
        ("score desc", "cadb"),
        ("createTime", "dabc"),
        ("rows asc", "abdc"),
    ],
)
def test_an_order_settles_ties_by_id(order_by: str, found: str) -> None:
    assert ids(order_by=order_by) == found


@pytest.mark.parametrize("order_by", ["rows up", "rows,,state", "rows;", "rows desc asc"])
def test_an_order_that_cannot_be_read_is_refused(order_by: str) -> None:
    with pytest.raises(UsageError, match="order_by"):
        ids(order_by=order_by)


def test_the_value_of_a_field_may_be_unset() -> None:
    unset: Value = None
    listing: Listing[str] = Listing({"key": lambda item: item, "x": lambda _: unset}, "key", "x")
    assert listing.page(["b", "a"], Query()).items == ["a", "b"]


def many(count: int) -> list[Job]:
    return [Job(f"j{n:03d}", "RUNNING", n % 3) for n in range(count)]


def test_page_sizes() -> None:
    assert len(LISTING.page(many(300), Query()).items) == 50
    assert len(LISTING.page(many(300), Query(page_size=7)).items) == 7
    assert len(LISTING.page(many(300), Query(page_size=1000)).items) == 200
    with pytest.raises(UsageError, match="page_size=-1"):
        LISTING.page(many(3), Query(page_size=-1))


def test_the_last_page_has_no_token() -> None:
    page = LISTING.page(many(5), Query(page_size=5))
    assert (len(page.items), page.next_page_token, page.total_size) == (5, "", 5)


def test_pages_go_on_when_items_come_and_go() -> None:
    query = Query(order_by="rows desc", page_size=4)
    first = LISTING.page(many(12), query)
    changed = [job for job in many(12) if job != first.items[-1]] + [Job("j000a", "RUNNING", 9)]
    second = LISTING.page(changed, Query(order_by="rows desc", page_size=4, page_token=first.next_page_token))
    assert second.items == sorted(many(12), key=lambda job: (-job.rows, job.job_id))[4:8]


def test_a_token_belongs_to_its_filter_and_order() -> None:
    token = LISTING.page(many(9), Query("rows<9", "rows", 2)).next_page_token
    assert LISTING.page(many(9), Query("rows<9", "rows", 5, token)).items
    for other in (Query("", "rows", 2, token), Query("rows<9", "rows desc", 2, token), Query("rows<9", "", 2, token)):
        with pytest.raises(UsageError, match="another filter or order"):
            LISTING.page(many(9), other)


@pytest.mark.parametrize("token", ["x", "e30=", "W10=", "bnVsbA==", "é", "WzEsMl0="])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="page_token"):
        LISTING.page(many(9), Query(page_token=token))
