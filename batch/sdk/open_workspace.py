"""Which workspace a Python program means. The only module of the SDK that reads the environment."""

from batch.settings import read_settings
from batch.workspace.store import Workspace


def open_workspace(workspace: str | Workspace | None, account: str | None = None) -> Workspace:
    """The workspace at a URI; None: that of BATCHCTL_WORKSPACE, of the profile, or the user's own.

    `account`: None is that of BATCHCTL_ACCOUNT_ID, of the profile, or the default one.
    """
    if isinstance(workspace, Workspace):
        return workspace
    settings = read_settings({"workspace": workspace or "", "account_id": account or ""})
    return Workspace(settings.workspace, settings.account_id)
