"""The zygote: one small process from which every shim is forked, with everything a shim needs already imported."""
