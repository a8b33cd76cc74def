"""The admins' pages: settings, cards, quotas, tokens, announcements, the log of changes."""
