"""The verbs and what each does in one line; a verb's module is `cli.<verb>`, loaded only when it is called."""

__all__ = ["VERBS"]

VERBS: dict[str, str] = {
    "ask": "ask one question, or go on with a conversation",
    "chat": "list, show, search, rename, fork, export or delete conversations",
    "model": "list, pull, import, verify, use, remove or measure models",
    "skill": "list, inspect, import, validate, enable, disable, remove, run or train skills",
    "memory": "list, search, add or forget what the assistant remembers",
    "permission": "show or change what the assistant's tools may do",
    "limits": "show or change when learning may use this machine",
    "consent": "show, give or withdraw your consent to learn with others",
    "fl": "join or leave a federation, take part in it, or see what holds that up",
    "vault": "make the vault, or say how it is",
    "log": "list, show, verify or export what was done with your data",
    "pause": "stop everything that sends or learns",
    "resume": "end a pause",
    "status": "say what is where, and which model answers",
    "doctor": "check every component, and say how to mend what is broken",
    "config": "show or change settings",
    "completion": "print a completion script for your shell",
}
