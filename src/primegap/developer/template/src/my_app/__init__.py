"""My App: counts whatever you like."""
