"""Who may do what: rules, approvals, capabilities and the broker that holds every call to them."""
