"""The skills that come with the assistant: a folder with a `SKILL.md` for each, and a package that does its work."""
