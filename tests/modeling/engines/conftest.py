"""The cluster that the tests of this folder share."""

from tests.ray_cluster import cluster

__all__ = ["cluster"]
