"""The command ``nmer``: thin covers of the workflow's steps and of the library, one module a sub-command or two."""
