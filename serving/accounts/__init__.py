"""Who may do what: users, roles, sites, tokens, sessions, and who looked at which case."""
