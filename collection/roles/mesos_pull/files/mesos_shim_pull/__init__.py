# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""A host that applies the changes of its fleet by itself; the hosts agree in ZooKeeper on whose turn it is."""
