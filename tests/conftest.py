"""The control plane's fixtures, for every test that asks for them."""

pytest_plugins = ["controlplane.fixtures"]
