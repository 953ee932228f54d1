"""The guarantees of the operating model, section 14, each proved by attack: `make guarantees`."""
