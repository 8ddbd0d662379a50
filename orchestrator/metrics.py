"""What Prometheus is told: counts and times by address, never who asked."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import Scope

__all__ = ["Metrics"]


class Metrics:
    """The figures of one replica."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "address", "status")
        self._requests = Counter("claw_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "claw_request_seconds", "From a request to its answer.", ("address",), registry=self._registry
        )

    def request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, under the form of its address."""
        route = scope.get("route")
        address = getattr(route, "path", "other")
        self._requests.labels(scope["method"] if route else "other", address, str(status)).inc()
        self._seconds.labels(address).observe(seconds)

    def text(self) -> bytes:
        """All figures, in Prometheus' format."""
        return generate_latest(self._registry)
