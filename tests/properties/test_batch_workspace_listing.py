from hypothesis import given
from hypothesis import strategies as st

from batch.errors import UsageError
from batch.workspace.filters import parse_filter
from batch.workspace.listing import Listing, Query

ITEMS = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 3) | st.none(), st.text("ab", max_size=2)),
    unique_by=lambda item: item[0],
)
ORDERS = st.lists(st.sampled_from(["x", "x desc", "y", "y desc", "key desc"]), max_size=3).map(", ".join)
LISTING: Listing[tuple[int, int | None, str]] = Listing(
    {"key": lambda item: item[0], "x": lambda item: item[1], "y": lambda item: item[2]}, key="key", default_order="key"
)


@given(ITEMS, ORDERS, st.integers(1, 5))
def test_pages_together_are_the_list_each_item_once(
    items: list[tuple[int, int | None, str]], order_by: str, page_size: int
) -> None:
    whole = LISTING.page(items, Query(order_by=order_by, page_size=200))
    assert sorted(whole.items, key=lambda item: item[0]) == sorted(items, key=lambda item: item[0])
    paged, token = [], ""
    while True:
        page = LISTING.page(items, Query(order_by=order_by, page_size=page_size, page_token=token))
        paged += page.items
        token = page.next_page_token
        if not token:
            break
        assert len(page.items) == page_size
    assert paged == whole.items


WORDS = st.sampled_from(
    ["x", "y", "=", "!=", "<", ":", "(", ")", "AND", "OR", "NOT", "-", '"a"', "'", "1", "*", "\\", " "]
)


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=40))
def test_any_text_is_a_filter_or_a_usage_error(text: str) -> None:
    try:
        parse_filter(text, ["x", "y"])(lambda name: 1 if name == "x" else "a")
    except UsageError:
        return
