"""The errors of skills.

ClawError (vault.errors)
└── SkillError                exit 1
    ├── SkillRefused          exit 2: a folder or archive that is no skill, or one that can't be taken
    ├── RuleRefused           exit 2: a rule about permissions that says nothing that can be kept to
    ├── ToolFailed            a tool could not do what was asked; the text is for the model too
    ├── NotPermitted          exit 4: the policy, or the person, doesn't allow a call
    ├── CapabilityRefused     a capability that isn't for this call, is used up or too old
    ├── ExampleRefused        exit 2: something that is no example to train on
    ├── ExamplesOff           exit 4: keeping results as examples isn't enabled
    ├── AdapterChoice         exit 2: it isn't said which of several adapters is meant
    ├── EmbedderError         texts can't be compared
    │   ├── EmbedderMissing   the package with the embedder's files isn't installed
    │   ├── EmbedderRefused   exit 6: its files aren't those that they should be
    │   └── EmbedderDied      its process ended in the middle of its work
    ├── HeadRefused           exit 6: what was learned of examples can't be used
    ├── InputRefused          exit 2: a skill can't work with what it was given
    ├── ModelUnfit            exit 5: the model's window is too small for a skill
    ├── RunStopped            exit 130: the person stopped a run
    └── SandboxError          something could not be run behind walls
        ├── NoSandbox         no tier of the sandbox works here, and nothing runs without one
        └── JobRefused        exit 2: the job can't be run as it is described
"""

from vault.errors import ClawError

__all__ = [
    "AdapterChoice",
    "CapabilityRefused",
    "EmbedderDied",
    "EmbedderError",
    "EmbedderMissing",
    "EmbedderRefused",
    "ExampleRefused",
    "ExamplesOff",
    "HeadRefused",
    "InputRefused",
    "JobRefused",
    "ModelUnfit",
    "NoSandbox",
    "NotPermitted",
    "RuleRefused",
    "RunStopped",
    "SandboxError",
    "SkillError",
    "SkillRefused",
    "ToolFailed",
]


class SkillError(ClawError):
    """Something about skills, tools or permissions."""


class SkillRefused(SkillError):
    """A folder or archive that is no skill, or one that can't be taken."""

    exit_code = 2


class RuleRefused(SkillError):
    """A rule about permissions that says nothing that can be kept to."""

    exit_code = 2


class ToolFailed(SkillError):
    """A tool could not do what was asked; the text is for the model too."""


class NotPermitted(SkillError):
    """The policy, or the person, doesn't allow a call."""

    exit_code = 4


class CapabilityRefused(SkillError):
    """A capability that isn't for this call, is used up or too old."""


class ExampleRefused(SkillError):
    """Something that is no example to train on."""

    exit_code = 2


class ExamplesOff(SkillError):
    """Keeping results as examples isn't enabled."""

    exit_code = 4


class AdapterChoice(SkillError):
    """A skill uses adapters with several models, and it isn't said which is meant."""

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
