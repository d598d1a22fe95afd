"""The only Kubernetes I/O: client, reflector, executor. It knows no farm."""
