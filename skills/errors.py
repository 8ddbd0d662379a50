"""The errors of skills.

ClawError (vault.errors)
└── SkillError                exit 1
    ├── SkillRefused          exit 2: a folder or archive that is no skill, or one that can't be taken
    ├── EmbedderError         texts can't be compared
    │   ├── EmbedderMissing   the package with the embedder's files isn't installed
    │   ├── EmbedderRefused   exit 6: its files aren't those that they should be
    │   └── EmbedderDied      its process ended in the middle of its work
    ├── HeadRefused           exit 6: what was learned of examples can't be used
    └── SandboxError          something could not be run behind walls
        ├── NoSandbox         no tier of the sandbox works here, and nothing runs without one
        └── JobRefused        exit 2: the job can't be run as it is described
"""

from vault.errors import ClawError

__all__ = [
    "EmbedderDied",
    "EmbedderError",
    "EmbedderMissing",
    "EmbedderRefused",
    "HeadRefused",
    "JobRefused",
    "NoSandbox",
    "SandboxError",
    "SkillError",
    "SkillRefused",
]


class SkillError(ClawError):
    """Something about skills, tools or permissions."""


class SkillRefused(SkillError):
    """A folder or archive that is no skill, or one that can't be taken."""

    exit_code = 2


class EmbedderError(SkillError):
    """Texts can't be compared: the embedder doesn't work here, or was asked for too much."""


class EmbedderMissing(EmbedderError):
    """The package that carries the embedder's files isn't installed, or lacks one."""


class EmbedderRefused(EmbedderError):
    """The embedder's files aren't those that they should be."""

    exit_code = 6


class EmbedderDied(EmbedderError):
    """The embedder's process ended in the middle of its work."""


class HeadRefused(SkillError):
    """What was learned of examples is damaged, too large, or another embedder's."""

    exit_code = 6


class SandboxError(SkillError):
    """Something could not be run behind walls."""


class NoSandbox(SandboxError):
    """No tier of the sandbox works here, and nothing runs without one."""


class JobRefused(SandboxError):
    """The job can't be run as it is described."""

    exit_code = 2
