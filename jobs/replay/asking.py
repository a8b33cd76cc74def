"""Questions asked, worked out in the background, and told to those who may know the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django_q.tasks import async_task

from jobs.models import Replay
from jobs.refusals import Refused
from jobs.replay import question as asked
from jobs.replay.answering import Limits, NoAnswer, answer
from jobs.replay.question import Asker, Question

log = logging.getLogger(__name__)

KEPT = timedelta(days=90)
GIVEN_UP_AFTER = timedelta(minutes=10)
"""After its beginning; the background service ends whatever takes longer than two minutes."""

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"


def ask(question: Question, asker: Asker) -> Replay:
    """Store the question and have it answered in the background.

    Raises:
        Refused: it may not be asked, or an earlier one of the same person is not answered yet.
    """
    asked.check(question, asker)
    now = timezone.now()
    for earlier in Replay.objects.filter(made_by=asker.user, ended_at=None):
        if stage(earlier, now) in {WAITING, RUNNING}:
            raise Refused(
                code="replay_running",
                title=_("Your last question is being answered"),
                detail=_("Only one replay of yours runs at a time."),
                hint=_("Wait until it is done."),
                status=409,
                extra={"replay": earlier.pk},
            )
    replay = Replay.objects.create(made_by=asker.user, asked_at=now, question=question.as_json())
    transaction.on_commit(lambda: async_task("jobs.tasks.replay", replay.pk, save=False))
    return replay


def work_out(replay_id: str, sign_of_life: Callable[[], None] = lambda: None) -> None:
    """Answer the question, once: safe to repeat."""
    now = timezone.now()
    if not Replay.objects.filter(pk=replay_id, begun_at=None).update(begun_at=now):
        return
    replay = Replay.objects.get(pk=replay_id)
    found: dict[str, Any] = {}
    problem = ""
    try:
        found = answer(Question(**replay.question), now, Limits(sign_of_life=sign_of_life))
    except NoAnswer as none:
        problem, found = none.code, {"told": none.told} if none.told else {}
    except Refused as refused:  # what it names has gone since it was asked
        problem, found = "outdated", {"told": refused.detail}
    except Exception:
        log.exception("The replay %s failed.", replay_id)
        problem = "failed"
    Replay.objects.filter(pk=replay_id).update(
        ended_at=timezone.now(), answer=found, problem=problem
    )


def stage(replay: Replay, now: datetime) -> str:
    """How far it is: waiting, running, done or failed."""
    if replay.ended_at is not None:
        return FAILED if replay.problem else DONE
    if now - (replay.begun_at or replay.asked_at) > GIVEN_UP_AFTER:
        return FAILED  # whoever worked on it was ended, or there is nobody to do it
    return WAITING if replay.begun_at is None else RUNNING


def visible_to(asker: Asker) -> QuerySet[Replay]:
    """All for an admin; else those that the person asked."""
    rows = Replay.objects.select_related("made_by")
    return rows if asker.is_admin else rows.filter(made_by=asker.user)


def told(replay: Replay, asker: Asker, now: datetime) -> dict[str, Any]:
    """The replay as its reader may know it: sums of all, and the figures of the projects that one leads."""
    where = stage(replay, now)
    return {
        "id": replay.pk,
        "state": where,
        "made_by": replay.made_by.username,
        "asked_at": replay.asked_at,
        "ended_at": replay.ended_at,
        "question": _question(replay.question, asker),
        "answer": _answer(replay.answer, asker) if where == DONE else None,
        "problem": _problem(replay, asker) if where == FAILED else None,
    }


def forget_old(now: datetime) -> int:
    """Remove what was asked long ago; how many."""
    count, _by_model = Replay.objects.filter(asked_at__lt=now - KEPT).delete()
    return count


def _question(stored: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
    own = {project.slug for project in asker.projects}
    wanted = {slug: each for slug, each in stored["projects"].items() if slug in own}
    return {**stored, "projects": wanted}


def _answer(found: Mapping[str, Any], asker: Asker) -> dict[str, Any]:
    own = {project.slug for project in asker.projects}
    return {
        **found,
        **{
            name: _side(found[name], own, tells_policy=asker.is_admin)
            for name in ("really", "today", "changed")
        },
    }


def _side(
    side: Mapping[str, Any] | None, own: set[str], *, tells_policy: bool
) -> dict[str, Any] | None:
    if side is None:
        return None
    projects = {slug: each for slug, each in side["projects"].items() if slug in own}
    problem = side["policy_problem"]
    if problem:
        words = _("The policy %(problem)s. The default order is used.")
        problem = words % {"problem": problem} if tells_policy else _("The policy failed.")
    return {**side, "projects": projects, "policy_problem": problem}


def _problem(replay: Replay, asker: Asker) -> dict[str, str]:
    """Why there is no answer, in words."""
    code = replay.problem or "interrupted"
    detail, hint = _words(code)
    if code == "policy" and asker.is_admin:
        detail = _("The policy %(problem)s.") % {"problem": replay.answer.get("told", "")}
    if code == "outdated":
        detail = replay.answer.get("told", "")
    return {"code": code, "detail": detail, "hint": hint}


def _words(code: str) -> tuple[str, str]:
    match code:
        case "no_jobs":
            return (
                _("No job of this time can be replayed."),
                _("Choose a longer period; jobs count as soon as they have had a card."),
            )
        case "no_cards":
            return (
                _("There is no card in service to replay on."),
                _("Put a card back into service, or name a fleet."),
            )
        case "too_slow":
            return _("The replay took too long."), _("Choose a shorter period.")
        case "stuck":
            return (
                _("The scheduler went round in circles under these settings."),
                _("Choose another policy or a longer minimum run."),
            )
        case "policy":
            return _("The policy cannot be used."), _("Ask an admin to correct it.")
        case "outdated":
            return "", _("The site has changed since this was asked: ask again.")
        case "interrupted":
            return (
                _("The background service did not finish it."),
                _("Ask again; if it stays, an admin looks at `llama-coop doctor`."),
            )
    return (
        _("The replay failed."),
        _("An admin finds the cause in the log of the background service."),
    )
