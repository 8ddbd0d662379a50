"""The inference worker: a child process that holds the model and nothing of the person's.

It is given one open descriptor (the weights) and two pipes, confines itself to them before it reads a byte of the
model, and answers the messages of `agent.worker.protocol`. Run by `agent.worker_process`; never imported by it but
for the protocol.
"""

__all__: list[str] = []
