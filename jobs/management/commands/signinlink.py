"""`manage.py signinlink NAME`: a one-time sign-in link for somebody who has no password, or lost it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from jobs.models import User
from jobs.signin import link_for


class Command(BaseCommand):
    """Only who may run commands on the server can make one, so it needs no further proof."""

    help = "Print a link that signs one person in, once, within 30 minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", nargs="?", default="admin")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["username"]
        user = User.objects.filter(username=name, is_active=True, is_service=False).first()
        if user is None:
            people = User.objects.filter(is_active=True, is_service=False).order_by("username")
            known = ", ".join(people.values_list("username", flat=True)[:20]) or "nobody"
            raise CommandError(f"There is no person {name!r} who can sign in. Known: {known}.")
        self.stdout.write(link_for(user))
