"""One verb or noun a module; ``pier_cli.table`` says which commands they hold."""
