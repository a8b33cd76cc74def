from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import tokens
from jobs.models import ApiToken, Project, User
from jobs.projects import default_project, join
from jobs.refusals import Refused
from jobs.tokens import Grant, create_token, issue, recognise, recognise_shared, revoke
from tests.rows import a_job, a_user, an_admin

pytestmark = pytest.mark.django_db

SHARED = "myteam123"


def opened(text: str) -> Grant:
    grant = recognise(text)
    assert grant is not None
    return grant


def refused(user: User, **options: object) -> Refused:
    wanted: dict[str, object] = {"name": "t", "scopes": ["read"]} | options
    with pytest.raises(Refused) as caught:
        issue(user, **wanted)  # type: ignore[arg-type]
    return caught.value


def test_a_token_opens_its_account_with_its_scopes() -> None:
    user = a_user()
    grant = opened(create_token(user, name="ci", scopes=["read", "submit"]))
    assert grant.user == user
    assert grant.scopes == {"read", "submit"}
    assert not grant.is_admin


def test_a_token_has_at_least_160_random_bits_and_a_prefix_that_scanners_know() -> None:
    text = create_token(a_user(), name="ci", scopes=["read"])
    assert text.startswith("lcp_")
    assert tokens._RANDOM * math.log2(len(tokens._ALPHABET)) >= 160


def test_the_database_holds_nothing_that_opens_anything() -> None:
    text = create_token(a_user(), name="ci", scopes=["read"])
    row = ApiToken.objects.get()
    stored = [str(value) for value in vars(row).values()]
    assert not any(text in value for value in stored)
    assert all(recognise(value) is None for value in stored)


def test_a_token_with_one_wrong_character_is_refused_without_a_query(
    django_assert_num_queries,
) -> None:
    text = create_token(a_user(), name="ci", scopes=["read"])
    wrong = text[:10] + ("A" if text[10] != "A" else "B") + text[11:]
    with django_assert_num_queries(0):
        assert recognise(wrong) is None


@pytest.mark.parametrize("text", ["", "lcp_", "x" * 42, "lcp_" + "é" * 38, "lcp_" + "A" * 38])
def test_what_is_no_token_opens_nothing(text: str) -> None:
    assert recognise(text) is None


def test_a_revoked_token_opens_nothing_from_then_on() -> None:
    row, text = issue(a_user(), name="ci", scopes=["read"])
    assert recognise(text) is not None
    revoke(row, row.user)
    assert recognise(text) is None
    assert ApiToken.objects.get().revoked_at is not None


def test_an_expired_token_opens_nothing() -> None:
    row, text = issue(a_user(), name="ci", scopes=["read"], lifetime=timedelta(days=1))
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert recognise(text) is None


def test_the_token_of_a_disabled_account_opens_nothing() -> None:
    user = a_user()
    text = create_token(user, name="ci", scopes=["read"])
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert recognise(text) is None


def test_its_use_is_written_at_most_once_a_minute(django_assert_num_queries) -> None:
    text = create_token(a_user(), name="ci", scopes=["read"])
    opened(text)
    used = ApiToken.objects.get().last_used_at
    assert used is not None
    with django_assert_num_queries(1):
        opened(text)
    assert ApiToken.objects.get().last_used_at == used


@pytest.mark.parametrize("lifetime", [timedelta(days=91), timedelta(0), timedelta(days=-1)])
def test_a_token_lives_between_nothing_and_90_days(lifetime: timedelta) -> None:
    no = refused(a_user(), lifetime=lifetime)
    assert no.code == "token_refused"
    assert "90" in no.hint


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "root"]])
def test_unknown_scopes_and_none_at_all_are_refused(scopes: list[str]) -> None:
    assert "read, submit, control, admin" in refused(a_user(), scopes=scopes).hint


def test_only_an_admin_makes_a_token_for_admin_work() -> None:
    assert refused(a_user(), scopes=["admin"]).code == "token_refused"
    assert opened(create_token(an_admin(), name="a", scopes=["admin"])).is_admin


def test_an_admins_token_without_the_scope_admin_is_an_ordinary_persons() -> None:
    admin, other = an_admin(), Project.objects.create(slug="other", name="Other")
    a_job("theirs", owner=a_user(), project=other)
    grant = opened(create_token(admin, name="a", scopes=["read"]))
    assert not grant.is_admin
    assert list(grant.jobs()) == []
    assert User.objects.get(pk=admin.pk).is_superuser


def test_who_lost_the_rights_of_an_admin_has_lost_them_in_the_token_too() -> None:
    admin = an_admin()
    text = create_token(admin, name="a", scopes=["read", "admin"])
    User.objects.filter(pk=admin.pk).update(is_superuser=False)
    assert not opened(text).is_admin


def test_a_bound_token_sees_its_project_only() -> None:
    user, other = a_user(), Project.objects.create(slug="other", name="Other")
    join(user, other)
    mine = a_job("mine", owner=user, project=other)
    a_job("elsewhere", owner=user)
    grant = opened(create_token(user, name="ci", scopes=["read"], project=other))
    assert [job.pk for job in grant.jobs()] == [mine.pk]
    assert grant.projects() == [other]
    assert grant.projects_to_submit_to() == [other]


def test_the_shared_token_is_one_account_in_the_default_project(settings) -> None:
    settings.COOP_AUTH_TOKEN = SHARED
    grant = recognise_shared(SHARED)
    assert grant is not None
    assert grant.user.username == "shared"
    assert grant.user.is_service
    assert not grant.user.has_usable_password()
    assert grant.scopes == {"read", "submit", "control"}
    assert grant.projects_to_submit_to() == [default_project()]
    again = recognise_shared(SHARED)
    assert again is not None
    assert again.user == grant.user


@pytest.mark.parametrize("text", ["", "myteam12", "myteam1234", "MYTEAM123"])
def test_any_other_text_is_not_the_shared_token(settings, text: str) -> None:
    settings.COOP_AUTH_TOKEN = SHARED
    assert recognise_shared(text) is None


@pytest.mark.parametrize("text", ["", "None", "anything"])
def test_without_a_shared_token_no_text_opens_the_shared_account(settings, text: str) -> None:
    settings.COOP_AUTH_TOKEN = None
    assert recognise_shared(text) is None
    assert not User.objects.filter(username="shared").exists()


def test_a_person_called_shared_is_never_taken_for_the_shared_account(settings, caplog) -> None:
    settings.COOP_AUTH_TOKEN = SHARED
    a_user("shared")
    assert recognise_shared(SHARED) is None
    assert "Rename that account" in caplog.text


def test_who_took_the_shared_account_out_of_the_default_project_is_not_overruled(settings) -> None:
    settings.COOP_AUTH_TOKEN = SHARED
    grant = recognise_shared(SHARED)
    assert grant is not None
    default_project().memberships.filter(user=grant.user).delete()
    again = recognise_shared(SHARED)
    assert again is not None
    assert again.projects() == []
