"""mesos-shim: each executor its own view of the shared file system, as its ContainerInfo says."""

__version__ = "0.2.0"
