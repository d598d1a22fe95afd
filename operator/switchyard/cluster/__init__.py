"""What can be asked of Kubernetes, as values: names, and commands with their preconditions."""
