"""Which columns of a table a job looks at: the others are not read, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from batch.rows.request import INPUTS, template_of
from batch.spec.job_spec import JobSpec


def needed_columns(spec: JobSpec) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return what chooses among the names of a table's columns.

    All, where rows may be requests: any column is then a field of one. A job with a template needs the columns that
    the template names, the ids and what is carried.
    """
    template = template_of(spec)
    if template is None:
        return lambda names: names
    needed = template.fields | {spec.id_field or "custom_id", *spec.carry}
    may_be_requests = {"body", *INPUTS}

    def chosen(names: Sequence[str]) -> Sequence[str]:
        if may_be_requests & set(names):
            return names
        return [name for name in names if name in needed]

    return chosen
