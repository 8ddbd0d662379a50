"""The peer of `benchmarks/secagg.py`: Flower's SecAgg+ in one process, and the attack that it doesn't notice.

Run by a Python that has `flwr`; prints one JSON object. Its own workflow and client modifier do all the work: only
the network between them is left out.

    flower_secagg.py ROUND  '{"devices": 100, "dimension": 500000, "shares": 21, "threshold": 11, "drops": 0}'
    flower_secagg.py ATTACK '{"devices": 12, "dimension": 64, "shares": 9, "threshold": 6}'
"""

# mypy: ignore-errors
import copy
import json
import logging
import sys
import time

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation.secaggplus_workflow import SecAggPlusWorkflow, WorkflowState
from flwr.supercore.task_identity import TaskIdentity

logging.disable(logging.CRITICAL)
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 0


class Proxy:
    """What the workflow wants to know of a client."""

    def __init__(self, node_id):
        self.node_id = node_id


class Clients:
    """All devices: what each was told and said, and how long that took."""

    def __init__(self, updates, lost):
        self.updates, self.lost = updates, lost
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in updates}
        self.seconds = dict.fromkeys(updates, 0.0)
        self.sent = {}
        self.wire = 0.0

    def send_and_receive(self, messages, *, timeout=None):  # noqa: ARG002
        return [reply for reply in map(self.answer, messages) if reply is not None]

    def answer(self, message):
        node = message.metadata.dst_node_id
        stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
        if stage == Stage.COLLECT_MASKED_VECTORS and node in self.lost:
            return None
        begun = time.perf_counter()
        message = copy.deepcopy(message)  # as the wire would: devices change what they are given
        message.metadata._src_node_id = 0
        self.wire += time.perf_counter() - begun
        begun = time.perf_counter()
        reply = secaggplus_mod(message, self.contexts[node], self.fit)
        self.seconds[node] += time.perf_counter() - begun
        reply.metadata._src_node_id = node
        if stage == Stage.COLLECT_MASKED_VECTORS:
            self.sent[node] = reply.content.config_records[RECORD_KEY_CONFIGS][Key.MASKED_PARAMETERS]
        return reply

    def fit(self, message, context):
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([self.updates[context.node_id]]), 1, {})
        return Message(compat.fitres_to_recorddict(result, False), reply_to=message)


class Strategy:
    """Takes every device, and keeps the aggregate."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.aggregate = None

    def configure_fit(self, _round, parameters, _manager):
        return [(Proxy(node), FitIns(parameters, {})) for node in self.nodes]

    def aggregate_fit(self, _round, results, _failures):
        self.aggregate = results[0][1].parameters
        return None, {}


class Manager:
    def num_available(self):
        return 0


def begin(devices, dimension, shares, threshold, lost=()):
    dice = np.random.default_rng(1)
    updates = {node: dice.normal(size=dimension).astype(np.float32) / 10 for node in range(1, devices + 1)}
    clients, strategy = Clients(updates, set(lost)), Strategy(list(updates))
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), strategy=strategy, client_manager=Manager())
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    empty = compat.parameters_to_arrayrecord(ndarrays_to_parameters([np.zeros(1)]), False)
    context.state.array_records[MAIN_PARAMS_RECORD] = empty
    return clients, context, SecAggPlusWorkflow(shares, threshold, max_weight=1.0)


def round_(devices, dimension, shares, threshold, drops):
    clients, context, workflow = begin(devices, dimension, shares, threshold, range(1, drops + 1))
    begun, state = time.perf_counter(), WorkflowState()
    for step in (
        workflow.setup_stage,
        workflow.share_keys_stage,
        workflow.collect_masked_vectors_stage,
        workflow.unmask_stage,
    ):
        if not step(clients, context, state):
            raise SystemExit(f"{step.__name__} gave up")
    whole = time.perf_counter() - begun
    alive = [node for node in clients.updates if node not in clients.lost]
    return {
        "server_s": whole - sum(clients.seconds.values()) - clients.wire,
        "client_s": float(np.median([clients.seconds[node] for node in alive])),
        "upload_bytes": sum(map(len, clients.sent[alive[0]])),
    }


def attack(devices, dimension, shares, threshold):
    """In the last step the server names a victim both as alive and as dead, and gets both of its secrets."""
    from flwr.common import bytes_to_ndarray
    from flwr.common.secure_aggregation.crypto.shamir import combine_shares
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key

    clients, context, workflow = begin(devices, dimension, shares, threshold)
    state = WorkflowState()
    for step in (workflow.setup_stage, workflow.share_keys_stage, workflow.collect_masked_vectors_stage):
        step(clients, context, state)
    victim = 1
    seed_shares, key_shares = [], []
    for node in state.nid_to_neighbours[victim] - {victim}:
        near = state.nid_to_neighbours[node]
        configs = {
            Key.STAGE: Stage.UNMASK,
            Key.ACTIVE_NODE_ID_LIST: list(near),
            Key.DEAD_NODE_ID_LIST: [victim],
        }
        content = RecordDict({RECORD_KEY_CONFIGS: ConfigRecord(configs)})
        reply = clients.answer(Message(content=content, dst_node_id=node, message_type="train", group_id="1"))
        said = reply.content.config_records[RECORD_KEY_CONFIGS]
        pairs = list(zip(said[Key.NODE_ID_LIST], said[Key.SHARE_LIST], strict=True))
        seed_shares.append(next(share for owner, share in pairs if owner == victim))
        key_shares.append(pairs[-1][1])
    seed, private = combine_shares(seed_shares), combine_shares(key_shares)
    vector = [bytes_to_ndarray(data) for data in clients.sent[victim]]
    shapes = [array.shape for array in vector]
    total = [
        array.astype(np.int64) - mask
        for array, mask in zip(vector, pseudo_rand_gen(seed, 1 << 32, shapes), strict=True)
    ]
    for node in state.nid_to_neighbours[victim] - {victim}:
        public = bytes_to_public_key(state.nid_to_publickeys[node][0])
        mask = pseudo_rand_gen(generate_shared_key(bytes_to_private_key(private), public), 1 << 32, shapes)
        sign = -1 if victim > node else 1
        total = [array + sign * part for array, part in zip(total, mask, strict=True)]
    guess = np.concatenate([(array % (1 << 32)).ravel() for array in total])[-dimension:].astype(np.float64)
    return {"correlation": float(np.corrcoef(guess, clients.updates[victim])[0, 1])}


if __name__ == "__main__":
    work = {"ROUND": round_, "ATTACK": attack}[sys.argv[1]]
    print(json.dumps(work(**json.loads(sys.argv[2]))))
