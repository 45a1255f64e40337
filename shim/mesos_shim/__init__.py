"""mesos-shim: gives each executor a private view of the host's file system, built from its ContainerInfo."""

__version__ = "0.2.0"
