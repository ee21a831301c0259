"""How operators look after backends and models: JSON and events below /ops, behind the gateway's door."""
