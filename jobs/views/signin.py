"""Signing in: by password, or once by a link that was made on the machine itself."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from jobs import signin
from jobs.models import User
from jobs.views import throttle

BACKEND = "django.contrib.auth.backends.ModelBackend"


@method_decorator(login_not_required, name="dispatch")
class SignIn(LoginView):
    """User name and password. After a few wrong guesses one has to wait."""

    template_name = "account/signin.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"services": settings.COOP_SSO}

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name = request.POST.get("username", "")
        if throttle.is_locked(name, _address(request)):
            # the password is not even looked at: an answer must not tell whether it was right
            words = _("Too many wrong passwords for this name. Try again in a quarter of an hour.")
            context = self.get_context_data(form=AuthenticationForm(request), locked=words)
            return self.render_to_response(context, status=422)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        throttle.forget(user.get_username(), _address(self.request))
        login(self.request, user)
        if not self.request.POST.get("remember"):
            self.request.session.set_expiry(0)
        return signed_in(HttpResponseRedirect(self.get_success_url()), user)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        throttle.note_failure(self.request.POST.get("username", ""), _address(self.request))
        response = super().form_invalid(form)
        response.status_code = 422
        return response


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def signin_link(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link. Opening it only shows a button: mail scanners and previews open links too."""
    if request.method != "POST":
        owner = signin.owner_of(token)
        status = 200 if owner else 410
        return render(request, "account/signin_link.html", {"owner": owner}, status=status)
    user = signin.use(token)
    if user is None:
        return render(request, "account/signin_link.html", {"owner": None}, status=410)
    login(request, user, backend=BACKEND)
    return signed_in(redirect(reverse(settings.LOGIN_REDIRECT_URL)), user)


def signed_in(response: HttpResponse, user: Any) -> HttpResponse:
    """Give the browser the language that the person once chose."""
    if isinstance(user, User) and user.language:
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, user.language, samesite="Lax")
    return response


def _address(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))
