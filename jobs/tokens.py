"""Bearer tokens: made, recognised, limited, ended. Only their SHA-256 is stored.

A token never gives more than its account has: its scopes cut the account's rights down, and a token without the
scope `admin` leaves an admin with an ordinary person's rights. The article's shared token is one service account.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from jobs import permissions
from jobs.audit import record
from jobs.models import ApiToken, Job, Project, User
from jobs.projects import default_project, join
from jobs.refusals import Refused

READ, SUBMIT, CONTROL, ADMIN = "read", "submit", "control", "admin"
SCOPES = (READ, SUBMIT, CONTROL, ADMIN)

PREFIX = "lcp_"  # secret scanners know a token by it
LONGEST_LIFE = timedelta(days=90)
SHARED_ACCOUNT = "shared"
SHARED_SCOPES = frozenset({READ, SUBMIT, CONTROL})

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM = 32  # characters of 5.95 bits: 190 random bits
_CHECK = 6
_SHOWN = 12  # characters that lists show
_USE_WRITTEN_EVERY = timedelta(minutes=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Who asks, and what this way of asking may do."""

    user: User
    scopes: frozenset[str]
    project: Project | None = None
    """The only project that a bound token opens; None opens all of the account's."""
    token: ApiToken | None = None
    """None for a session of the pages and for the shared token."""

    @property
    def is_admin(self) -> bool:
        """Whether this may change the site itself."""
        return ADMIN in self.scopes and self.user.is_superuser

    def jobs(self) -> QuerySet[Job]:
        """The jobs that this may know of."""
        visible: QuerySet[Job] = Job.objects.visible_to(self.user)
        return visible.filter(project=self.project) if self.project else visible

    def projects(self) -> list[Project]:
        """The projects that this may know of, by slug."""
        return self._within(permissions.projects_visible_to(self.user))

    def projects_to_submit_to(self) -> list[Project]:
        """The projects that this may hand jobs and datasets in to, by slug."""
        return self._within(permissions.projects_to_submit_to(self.user))

    def _within(self, projects: Iterable[Project]) -> list[Project]:
        return [each for each in projects if self.project is None or each == self.project]


def create_token(
    user: User,
    *,
    name: str,
    scopes: Iterable[str],
    project: Project | None = None,
    lifetime: timedelta = LONGEST_LIFE,
) -> str:
    """Make a token and return its text, which is never to be had again."""
    return issue(user, name=name, scopes=scopes, project=project, lifetime=lifetime)[1]


def issue(
    user: User,
    *,
    name: str,
    scopes: Iterable[str],
    project: Project | None = None,
    lifetime: timedelta = LONGEST_LIFE,
) -> tuple[ApiToken, str]:
    """Make a token; its row, and its text.

    Raises:
        Refused: an unknown scope, more than the account may, or a life of none or of more than 90 days.
    """
    wanted = _checked_scopes(user, scopes)
    _check_lifetime(lifetime)
    text = _new_text()
    row = ApiToken.objects.create(
        user=user,
        project=project,
        name=name,
        prefix=text[:_SHOWN],
        digest=_digest(text),
        scopes=wanted,
        expires_at=timezone.now() + lifetime,
    )
    return row, text


def revoke(token: ApiToken, by: User) -> None:
    """Make a token useless from now on; its row stays, so that one can see that it existed."""
    alive = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    if alive.update(revoked_at=timezone.now()):
        record(by, token, "revoked")


def recognise(text: str) -> Grant | None:
    """What a token's text opens; None for one that is unknown, expired, revoked, or of a disabled account."""
    if not _is_well_formed(text):
        return None
    row = usable().filter(digest=_digest(text)).select_related("user", "project").first()
    if row is None:
        return None
    _note_use(row)
    scopes = frozenset(row.scopes)
    if ADMIN not in scopes:
        row.user.is_superuser = False  # on this copy alone, which nobody saves
    return Grant(user=row.user, scopes=scopes, project=row.project, token=row)


def recognise_shared(text: str) -> Grant | None:
    """The service account, where `text` is the site's shared token; compared in constant time."""
    wanted = settings.COOP_AUTH_TOKEN
    if not wanted or not hmac.compare_digest(_digest(text), _digest(wanted)):
        return None
    user = _shared_account()
    return Grant(user=user, scopes=SHARED_SCOPES) if user else None


def session_grant(user: User) -> Grant:
    """What a person who is signed in on the pages may do: all that the account may."""
    return Grant(user=user, scopes=frozenset(SCOPES))


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The account's tokens, newest first, ended ones included."""
    return ApiToken.objects.filter(user=user).select_related("project")


def usable() -> QuerySet[ApiToken]:
    """Those that still open something: not revoked, not ended, of an account that is in use."""
    alive = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return ApiToken.objects.filter(alive, revoked_at=None, user__is_active=True)


def _note_use(row: ApiToken) -> None:
    """Write when it was used, at most once a minute: reading must not become writing."""
    now = timezone.now()
    if row.last_used_at is None or now - row.last_used_at >= _USE_WRITTEN_EVERY:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)


def _shared_account() -> User | None:
    """The service account and its membership, made when first needed.

    A person's account of that name is never taken for it: the token would then act as that person.
    """
    user, created = User.objects.get_or_create(
        username=SHARED_ACCOUNT, defaults={"is_service": True, "password": "!"}
    )
    if not user.is_service or user.is_superuser:
        logger.error(
            "The shared token is refused: the account %r is a person's or an admin's. Rename that account.",
            SHARED_ACCOUNT,
        )
        return None
    if created:
        join(user, default_project())
    return user if user.is_active else None


def _checked_scopes(user: User, scopes: Iterable[str]) -> list[str]:
    wanted = set(scopes)
    unknown = sorted(wanted.difference(SCOPES))
    if unknown or not wanted:
        raise _refused(
            _("The scopes of a token cannot be %(given)s.")
            % {"given": ", ".join(unknown) or _("none")},
            _("Allowed are one or more of: %(allowed)s.") % {"allowed": ", ".join(SCOPES)},
        )
    if ADMIN in wanted and not user.is_superuser:
        raise _refused(
            _("The scope admin is for admins, and %(user)s is none.") % {"user": user.username},
            _("Leave it out."),
        )
    return [scope for scope in SCOPES if scope in wanted]


def _check_lifetime(lifetime: timedelta) -> None:
    if not timedelta(0) < lifetime <= LONGEST_LIFE:
        raise _refused(
            _("A token cannot live %(days)s days.") % {"days": f"{lifetime / timedelta(days=1):g}"},
            _("Give more than 0 and at most %(most)s days.") % {"most": LONGEST_LIFE.days},
        )


def _refused(detail: str, hint: str) -> Refused:
    return Refused(
        code="token_refused", title=_("No such token can be made"), detail=detail, hint=hint
    )


def _new_text() -> str:
    body = "".join(secrets.choice(_ALPHABET) for _place in range(_RANDOM))
    return f"{PREFIX}{body}{_check_characters(body)}"


def _is_well_formed(text: str) -> bool:
    """Whether it can be one of ours: a mistyped one is told apart without asking the database."""
    body = text[len(PREFIX) : -_CHECK]
    return (
        text.startswith(PREFIX)
        and len(text) == len(PREFIX) + _RANDOM + _CHECK
        and text.isascii()
        and text[-_CHECK:] == _check_characters(body)
    )


def _check_characters(body: str) -> str:
    number = zlib.crc32(body.encode())
    characters = []
    for _place in range(_CHECK):
        number, rest = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[rest])
    return "".join(reversed(characters))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
