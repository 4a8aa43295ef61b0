pytest_plugins = ["stores"]
