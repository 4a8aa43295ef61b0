"""The verbs that take a noun, as firectl has them: `create dataset`, `get bij`, `cancel OUT`. A table, no logic."""

from batch.cli.lazy import Entry, LazyGroup

DATASET, JOB = "dataset", "batch-inference-job"
ACCOUNT, API_KEY, MODEL = "account", "api-key", "model"
NOUN_ALIASES = {
    "datasets": DATASET,
    "ds": DATASET,
    "batch-inference-jobs": JOB,
    "bij": JOB,
    "bijs": JOB,
    "batch-job": JOB,
    "batch-jobs": JOB,
    "accounts": ACCOUNT,
    "api-keys": API_KEY,
    "models": MODEL,
}
_HELP = {
    DATASET: "A dataset: an immutable set of files.",
    JOB: "A batch inference job (bij).",
    ACCOUNT: "An account of a server.",
    API_KEY: "An API key of a server's account.",
    MODEL: "A model that the jobs of a server may ask for.",
}
_MODULES = {
    DATASET: "batch.cli.commands.datasets",
    JOB: "batch.cli.commands.jobs",
    ACCOUNT: "batch.cli.commands.server.accounts",
    API_KEY: "batch.cli.commands.server.api_keys",
    MODEL: "batch.cli.commands.server.models",
}


def _verb(name: str, text: str, *nouns: str, fallback: Entry | None = None) -> LazyGroup:
    function = name.replace("list", "list_")
    entries = {noun: Entry(f"{_MODULES[noun]}:{function}", _HELP[noun]) for noun in nouns}
    return LazyGroup(name=name, help=text, entries=entries, aliases=NOUN_ALIASES, fallback=fallback)


create = _verb("create", "Create a dataset, a job, or what a server keeps.", DATASET, JOB, ACCOUNT, API_KEY, MODEL)
get = _verb("get", "Show one dataset, job, account or model.", DATASET, JOB, ACCOUNT, MODEL)
list_ = _verb("list", "List datasets, jobs, or what a server keeps.", DATASET, JOB, ACCOUNT, API_KEY, MODEL)
update = _verb("update", "Change a dataset's display name, an account or a model.", DATASET, ACCOUNT, MODEL)
delete = _verb("delete", "Delete a dataset, a job, an API key or a model.", DATASET, JOB, API_KEY, MODEL)
download = _verb("download", "Copy a dataset's files to a folder.", DATASET)
cancel = _verb(
    "cancel",
    "Cancel a job, by its id, by `batch-inference-job ID`, or by the output folder of `batchctl run`.",
    JOB,
    fallback=Entry("batch.cli.commands.jobs:cancel", ""),
)
resume = _verb(
    "resume",
    "Go on with a job, by its id, by `batch-inference-job ID`, or by the output folder of `batchctl run`. With "
    "--retry-failed [CODE]... after it: run the failed rows of an ended job as a new one.",
    JOB,
    fallback=Entry("batch.cli.commands.jobs:resume_here", ""),
)
