"""The errors of skills.

ClawError (vault.errors)
└── SkillError                exit 1
    ├── SkillRefused          exit 2: a folder or archive that is no skill, or one that can't be taken
    ├── InputRefused          exit 2: a skill can't work with what it was given
    ├── ModelUnfit            exit 5: the model's window is too small for a skill
    ├── RunStopped            exit 130: the person stopped a run
    └── SandboxError          something could not be run behind walls
        ├── NoSandbox         no tier of the sandbox works here, and nothing runs without one
        └── JobRefused        exit 2: the job can't be run as it is described
"""

from vault.errors import ClawError

__all__ = [
    "InputRefused",
    "JobRefused",
    "ModelUnfit",
    "NoSandbox",
    "RunStopped",
    "SandboxError",
    "SkillError",
    "SkillRefused",
]


class SkillError(ClawError):
    """Something about skills, tools or permissions."""


class SkillRefused(SkillError):
    """A folder or archive that is no skill, or one that can't be taken."""

    exit_code = 2


class InputRefused(SkillError):
    """A skill can't work with what it was given."""

    exit_code = 2


class ModelUnfit(SkillError):
    """The model's context window is too small for what a skill asks."""

    exit_code = 5


class RunStopped(SkillError):
    """The person stopped a run of a skill."""

    exit_code = 130


class SandboxError(SkillError):
    """Something could not be run behind walls."""


class NoSandbox(SandboxError):
    """No tier of the sandbox works here, and nothing runs without one."""


class JobRefused(SandboxError):
    """The job can't be run as it is described."""

    exit_code = 2
