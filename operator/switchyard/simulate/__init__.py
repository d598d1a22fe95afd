"""A simulated farm: rigs that speak the agent's protocol, a market, an independent account."""
