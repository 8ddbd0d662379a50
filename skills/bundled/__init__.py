"""The skills that come with the assistant: a folder with a `SKILL.md` for each, and beside it the package that works."""
