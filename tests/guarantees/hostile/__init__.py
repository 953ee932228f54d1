"""Code that runs inside sandboxes of the device in place of a role's own, and is hostile."""
