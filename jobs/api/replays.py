"""`/replays`: the site's own past under other settings, for those who lead a project and for admins."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from ninja import Router

from jobs import tokens
from jobs.api.answers import answer, base_url
from jobs.api.auth import Allowed, grant
from jobs.api.problems import NotFound
from jobs.api.replayschemas import ReplayIn, ReplayOut
from jobs.api.schemas import ProblemOut
from jobs.core.problems import shortened
from jobs.models import Replay
from jobs.replay import asking
from jobs.replay.question import Asker, Question
from jobs.serialize import instant

router = Router()


@router.post(
    "/replays",
    response={201: ReplayOut, 403: ProblemOut, 409: ProblemOut, 422: ProblemOut},
    auth=Allowed(tokens.CONTROL),
)
def ask(request: HttpRequest, wanted: ReplayIn) -> HttpResponse:
    """Ask what would have been; the background service works it out, which may take a minute."""
    asker = _asker(request)
    given = wanted.dict(exclude_unset=True)
    replay = asking.ask(Question(**given), asker)
    told = _replay(request, replay, asker)
    place = f"{base_url(request)}/api/v1/replays/{replay.pk}"
    return answer(request, told, status=201, headers={"Location": place})


@router.get("/replays/{replay_id}", response=ReplayOut, auth=Allowed(tokens.READ))
def show(request: HttpRequest, replay_id: str) -> HttpResponse:
    """A question of yours and, once it is worked out, its answer."""
    asker = _asker(request)
    replay = asking.visible_to(asker).filter(pk=replay_id).first()
    if replay is None:
        raise NotFound(_("There is no replay %(id)s.") % {"id": shortened(replay_id)})
    return answer(request, _replay(request, replay, asker))


def _asker(request: HttpRequest) -> Asker:
    caller = grant(request)
    return Asker.of(caller.user, caller.project)


def _replay(request: HttpRequest, replay: Replay, asker: Asker) -> dict[str, Any]:
    told = asking.told(replay, asker, timezone.now())
    times = {name: instant(told[name]) for name in ("asked_at", "ended_at")}
    page = f"{base_url(request)}{reverse('whatif-answer', args=[replay.pk])}"
    return {**told, **times, "url": page}
