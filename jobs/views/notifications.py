"""The bell, the list behind it, and the channels of a person or a project."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from jobs import permissions
from jobs.models import Channel, Job, Notification, Project, User
from jobs.notify import inbox, sending, sentences
from jobs.notify.forms import ChannelForm, ChoicesForm, InboxForm
from jobs.notify.kinds import LABELS
from jobs.views.signedin import viewer_of

A_PAGE = 50


@require_safe
@never_cache
def bell(request: HttpRequest) -> HttpResponse:
    """The bell with its number, by itself."""
    return render(request, "notifications/_bell.html")


@require_safe
@never_cache
def inbox_page(request: HttpRequest) -> HttpResponse:
    """What the reader was told, newest first."""
    return render(request, "notifications/list.html", _inbox(request))


@require_safe
@never_cache
def inbox_part(request: HttpRequest) -> HttpResponse:
    """The list by itself."""
    return render(request, "notifications/_list.html", _inbox(request))


@require_safe
@never_cache
def open_one(request: HttpRequest, pk: int) -> HttpResponse:
    """Mark one line as read and go where it leads; a line can be marked by whoever it belongs to only."""
    viewer = viewer_of(request)
    line = get_object_or_404(Notification.objects.filter(user=viewer), pk=pk)
    Notification.objects.filter(pk=line.pk, read_at=None).update(read_at=timezone.now())
    if line.job_id and Job.objects.visible_to(viewer).filter(pk=line.job_id).exists():
        return redirect("job", line.job_id)
    if slug := line.data.get("project"):
        return redirect("project", slug)
    return redirect(f"{reverse('job-list')}?show=all")


@require_POST
def read_all(request: HttpRequest) -> HttpResponse:
    """Mark everything as read."""
    viewer = viewer_of(request)
    Notification.objects.filter(user=viewer, read_at=None).update(read_at=timezone.now())
    return redirect("notifications")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def my_channels(request: HttpRequest) -> HttpResponse:
    """What the reader is told on the pages, and the channels that lead to them."""
    viewer = viewer_of(request)
    if request.method == "POST" and request.POST.get("what") == "inbox":
        form = InboxForm(viewer, request.POST)
        if form.is_valid():
            form.save()
            messages.success(request, _("Saved."))
        return redirect("my-channels")
    return _channels(request, viewer, {"inbox_form": InboxForm(viewer)})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def project_channels(request: HttpRequest, slug: str) -> HttpResponse:
    """The channels of a project; for its leads."""
    viewer = viewer_of(request)
    project = Project.objects.filter(slug=slug).first()
    if project is None or not permissions.can_manage(viewer, project):
        raise Http404(_("There is no project “%(slug)s” that you lead.") % {"slug": slug})
    return _channels(request, project, {"project": project})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def channel_page(request: HttpRequest, pk: int) -> HttpResponse:
    """Change what a channel is told, and when. Another address is another channel."""
    channel = _channel(request, pk)
    form = ChoicesForm(request.POST or None, instance=channel)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved. It holds for what happens from now on."))
        return _back(channel)
    status = 422 if request.method == "POST" else 200
    context = {"form": form, "channel": channel, "back": _address_of(channel)}
    return render(request, "notifications/channel.html", context, status=status)


@require_POST
def channel_test(request: HttpRequest, pk: int) -> HttpResponse:
    """Send a test message at once, and say what came of it."""
    channel = _channel(request, pk)
    error = sending.send_test(channel)
    words = {"name": channel.name, "error": error}
    if error:
        messages.error(
            request, _("The test message to “%(name)s” did not arrive. %(error)s") % words
        )
    else:
        messages.success(request, _("A test message went to “%(name)s”.") % words)
    return _back(channel)


@require_POST
def channel_pause(request: HttpRequest, pk: int) -> HttpResponse:
    """Send nothing there until it is switched on again; what happens meanwhile is not told afterwards."""
    channel = _channel(request, pk)
    channel.paused = not channel.paused
    channel.save(update_fields=["paused"])
    if channel.paused:
        channel.deliveries.filter(done_at=None).delete()
    return _back(channel)


@require_POST
def channel_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a channel with its address."""
    channel = _channel(request, pk)
    answer = _back(channel)
    channel.delete()
    messages.success(request, _("The channel “%(name)s” is removed.") % {"name": channel.name})
    return answer


def _inbox(request: HttpRequest) -> dict[str, Any]:
    viewer = viewer_of(request)
    lines = Notification.objects.filter(user=viewer).select_related("job")
    page = Paginator(lines, A_PAGE).get_page(request.GET.get("page"))
    return {
        "told": sentences.in_words(page.object_list, Job.objects.visible_to(viewer)),
        "page": page,
        "unread": inbox.unread(viewer.pk),
    }


def _channels(request: HttpRequest, owner: User | Project, more: dict[str, Any]) -> HttpResponse:
    is_sent = request.method == "POST"
    form = ChannelForm(owner, viewer_of(request), request.POST if is_sent else None)
    context = more | {"form": form, "kind_words": LABELS}
    status = 200
    if is_sent and form.is_valid():
        made, secret = form.create()
        if not secret:
            messages.success(request, _("The channel is made. Send a test message to see it work."))
            return _back(made)
        context |= {"secret": secret, "made": made}
        context["form"] = ChannelForm(owner, viewer_of(request))
        status = 201
    elif is_sent:
        status = 422
    context["channels"] = _of(owner)
    return render(request, "notifications/channels.html", context, status=status)


def _of(owner: User | Project) -> QuerySet[Channel]:
    return owner.channels.all()


def _channel(request: HttpRequest, pk: int) -> Channel:
    """A channel of the reader, or of a project that they lead."""
    viewer = viewer_of(request)
    channel = Channel.objects.select_related("user", "project").filter(pk=pk).first()
    if channel is None or not _may_change(viewer, channel):
        raise Http404(_("There is no such channel of yours."))
    return channel


def _may_change(viewer: User, channel: Channel) -> bool:
    if channel.project is not None:
        return permissions.can_manage(viewer, channel.project)
    return channel.user_id == viewer.pk


def _address_of(channel: Channel) -> str:
    if channel.project:
        return reverse("project-channels", args=[channel.project.slug])
    return reverse("my-channels")


def _back(channel: Channel) -> HttpResponse:
    return redirect(_address_of(channel))
