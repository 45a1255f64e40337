"""mesos-containerizer: the agent's launch helper, for the protocols of Mesos 0.21 and 1.x."""
