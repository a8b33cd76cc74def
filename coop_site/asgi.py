"""The ASGI application: HTTP by Django, WebSockets by the live consumers, foreign origins refused."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coop_site.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()  # sets Django up; what follows imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402 - needs the apps
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 - the same
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402 - the same

from coop_site.routing import websocket_urlpatterns  # noqa: E402 - the same
from jobs.live import listening  # noqa: E402 - the same

application = listening(
    ProtocolTypeRouter(
        {
            "http": _http,
            "websocket": AllowedHostsOriginValidator(
                AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
            ),
        }
    )
)
