"""Agreement with labels: of the reward as a whole, and of routers against each other."""
