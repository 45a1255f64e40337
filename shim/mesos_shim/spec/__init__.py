"""What was asked: the request, the configuration, the ContainerInfo, and what a framework may ask for."""
