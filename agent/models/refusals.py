"""A request about models that can't be done as it was put."""

from agent.errors import ModelError

__all__ = ["RequestRefused"]


class RequestRefused(ModelError):
    """A name, a source or a digest that can't be used as it was given."""

    exit_code = 2
