"""What the flags of run and create mean: each kind of specification in a module, text in, API values out."""
