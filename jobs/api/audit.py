"""Who changed what about the site: rows in Django's own log, which the admin pages show."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model

from jobs.models import User


def record(user: User, what: Model, verb: str, **values: Any) -> None:
    """Note that `user` did `verb` to `what`; `values` are those that hold from now on."""
    LogEntry.objects.create(
        user_id=user.pk,
        content_type_id=ContentType.objects.get_for_model(what).pk,
        object_id=str(what.pk),
        object_repr=str(what)[:200],
        action_flag=CHANGE,
        change_message=f"{verb} {json.dumps(values, default=str)}" if values else verb,
    )
