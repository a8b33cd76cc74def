"""Signing in elsewhere, by django-allauth. Loaded only where a service is configured (coop_site/sso.py)."""
