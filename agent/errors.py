"""The errors of the agent.

ClawError (vault.errors)
└── AgentError
    ├── ModelError              a model can't be used
    │   ├── ModelRefused        exit 6: a file that isn't, or isn't any more, what it should be
    │   ├── AdapterRefused      exit 6: a trained adapter that doesn't fit the model, or is none
    │   ├── ModelTooLarge       exit 5: it doesn't fit the memory there is, or that it may take
    │   └── RequestRefused      exit 2: a name, a source or a digest that can't be used as it was given
    ├── WorkerError             the inference worker failed
    │   ├── WorkerDied          it ended in the middle of its work
    │   └── Unconfined          it can't be confined here, and the settings require it
    ├── ContextOverflow         exit 5: the conversation doesn't fit the context window
    └── AttachmentRefused       exit 2: a file that can't be attached
"""

from vault.errors import ClawError

__all__ = [
    "AdapterRefused",
    "AgentError",
    "AttachmentRefused",
    "ContextOverflow",
    "ModelError",
    "ModelRefused",
    "ModelTooLarge",
    "RequestRefused",
    "Unconfined",
    "WorkerDied",
    "WorkerError",
]


class AgentError(ClawError):
    """Root of everything the agent raises."""


class ModelError(AgentError):
    """A model can't be used."""


class ModelRefused(ModelError):
    """A file isn't, or isn't any more, the model it should be."""

    exit_code = 6


class AdapterRefused(ModelError):
    """A trained adapter doesn't fit the model, or is none."""

    exit_code = 6


class ModelTooLarge(ModelError):
    """A model doesn't fit the memory there is, or that it may take."""

    exit_code = 5


class RequestRefused(ModelError):
    """A name, a source or a digest that can't be used as it was given."""

    exit_code = 2


class WorkerError(AgentError):
    """The inference worker failed."""


class WorkerDied(WorkerError):
    """The inference worker ended in the middle of its work."""


class Unconfined(WorkerError):
    """The worker can't be confined on this system, and the settings require it."""


class ContextOverflow(AgentError):
    """A conversation, or a single message, doesn't fit the context window."""

    exit_code = 5


class AttachmentRefused(AgentError):
    """A file can't be attached to a message."""

    exit_code = 2
