"""What-if for managers: the site's own past, replayed on other cards or under other rules before it is changed."""
