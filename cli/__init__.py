"""The `claw` command: one small module per verb, loaded only when called; no logic of its own.

`cli.main` is the entry; `cli.console` is what each verb is given.
"""

__all__: list[str] = []
