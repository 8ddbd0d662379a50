"""Taking everything along: exports in open formats, imports, encrypted backups and their restoration."""
