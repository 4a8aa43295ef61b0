"""The pipelines that run batch jobs on engines, and the models that try them out."""
