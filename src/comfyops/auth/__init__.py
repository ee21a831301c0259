"""Who may do what: tokens, passwords, sessions, roles, the policy of routes, and the record of what happened.

This subject imports no other one: it can be read and audited alone. `policy` and `paths` are pure.
"""
