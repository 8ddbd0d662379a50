"""The peer of `benchmarks/orchestrator.py`: nodes of Flower's SuperLink, and the requests with which they poll it.

Run by a Python that has `flwr`; prints one JSON list: of each node the headers and the body, in hex, of its polls.
Keys are registered as an operator does, and polls are signed as Flower's own client signs them. A node's signature
covers the time alone, and holds for minutes: so one is made for each node.

    flower_superlink.py '{"address": "127.0.0.1:8000", "trusted": "ca.pem", "nodes": 32}'
"""

# mypy: ignore-errors
import json
import logging
import sys
from base64 import b64encode

from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, TIMESTAMP_HEADER
from flwr.proto.control_pb2 import RegisterNodeRequest
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.date import now
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

logging.disable(logging.CRITICAL)


def node(address, trusted):
    """A node that was registered and is active, and its poll."""
    private, public = generate_key_pairs()
    key = public_key_to_bytes(public)
    version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    with ControlHttpClient.from_server_address(address, False, trusted, [version]) as operator:
        operator.RegisterNode(RegisterNodeRequest(public_key=key))
    signs = [version, NodeAuthHttpInterceptor(private, public)]
    with FleetHttpClient.from_server_address(address, False, trusted, signs) as client:
        active = client.ActivateNode(
            ActivateNodeRequest(public_key=key, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        )
        client.PullMessages(PullMessagesRequest(node=Node(node_id=active.node_id)))
    at = now().isoformat()
    headers = {
        "content-type": PROTOBUF_MEDIA_TYPE,
        "accept": PROTOBUF_MEDIA_TYPE,
        **dict(RuntimeVersionMetadata.from_local_component("SuperNode").as_metadata()),
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(key).decode(),
        TIMESTAMP_HEADER: at,
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(private, at.encode())).decode(),
    }
    body = PullMessagesRequest(node=Node(node_id=active.node_id)).SerializeToString(deterministic=True)
    return headers, body.hex()


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    print(json.dumps([node(asked["address"], asked["trusted"]) for _ in range(asked["nodes"])]))
