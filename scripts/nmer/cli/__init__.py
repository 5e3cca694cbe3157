"""The command ``nmer``: thin wrappers of the workflow's steps and of the library, a module per one or two commands."""
