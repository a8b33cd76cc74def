"""What-if for managers: the site's own past under other settings, asked, worked out and shown side by side."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from jobs.models import Attempt, Replay
from jobs.refusals import Refused
from jobs.replay import asking
from jobs.replay.question import Asker
from jobs.views.compared import changes, compared
from jobs.views.signedin import viewer_of
from jobs.views.whatifform import WhatIfForm

EARLIER_SHOWN = 10


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def whatif(request: HttpRequest) -> HttpResponse:
    """The empty form; or a question, which leads to the page of its answer."""
    try:
        asker = Asker.of(viewer_of(request))
    except Refused as refused:
        return render(request, "whatif/whatif.html", {"refused": refused}, status=refused.status)
    if request.method != "POST":
        return render(request, "whatif/whatif.html", _context(asker, WhatIfForm(asker)))
    form = WhatIfForm(asker, request.POST)
    if not form.is_valid():
        return render(request, "whatif/whatif.html", _context(asker, form), status=422)
    try:
        replay = asking.ask(form.question(), asker)
    except Refused as refused:
        context = _context(asker, form) | {"refused": refused}
        return render(request, "whatif/whatif.html", context, status=refused.status)
    return redirect("whatif-answer", replay.pk)


@require_safe
@never_cache
def whatif_answer(request: HttpRequest, replay_id: str) -> HttpResponse:
    """A question with its answer, and the form to ask on from there."""
    asker, replay = _found(request, replay_id)
    form = WhatIfForm.of(asker, replay.question)
    return render(request, "whatif/whatif.html", _context(asker, form) | _told(replay, asker))


@require_safe
@never_cache
def whatif_part(request: HttpRequest, replay_id: str) -> HttpResponse:
    """The answer alone, fetched again until it is there."""
    asker, replay = _found(request, replay_id)
    return render(request, "whatif/_answer.html", _told(replay, asker))


def _found(request: HttpRequest, replay_id: str) -> tuple[Asker, Replay]:
    try:
        asker = Asker.of(viewer_of(request))
    except Refused as refused:
        raise Http404(refused.detail) from refused
    replay = asking.visible_to(asker).filter(pk=replay_id).first()
    if replay is None:
        raise Http404(_("There is no replay “%(id)s” of yours.") % {"id": replay_id})
    return asker, replay


def _context(asker: Asker, form: WhatIfForm) -> dict[str, Any]:
    now = timezone.now()
    earlier = asking.visible_to(asker).filter(made_by=asker.user)[:EARLIER_SHOWN]
    return {
        "form": form,
        "has_history": Attempt.objects.exists(),
        "earlier": [(each, asking.stage(each, now)) for each in earlier],
        "is_admin": asker.is_admin,
    }


def _told(replay: Replay, asker: Asker) -> dict[str, Any]:
    told = asking.told(replay, asker, timezone.now())
    answer = told["answer"]
    if answer is None:
        return {"replay": told}
    return {
        "replay": told,
        "compared": compared(answer),
        "changes": changes(told["question"]),
        "since": datetime.fromisoformat(answer["since"]),
        "until": datetime.fromisoformat(answer["until"]),
    }
