"""The trainer: a program that runs in the sandbox, with the base weights, the rows that it was piped, and torch.

It stands on nothing of ours but `fl_client.training.protocol` and `fl_client.training.factors`.
"""

__all__: list[str] = []
