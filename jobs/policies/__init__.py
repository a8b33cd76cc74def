"""Running the policy that a site has chosen: found and checked, loaded in a process of its own, never waited for."""
