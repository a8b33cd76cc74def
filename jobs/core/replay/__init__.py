"""A site's own past, replayed on other cards or under other rules."""
