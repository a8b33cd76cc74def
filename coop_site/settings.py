"""The one settings file. A bare checkout works: SQLite in COOP_HOME, real cards or else simulated ones.

Every `COOP_*` variable is explained in docs/operations.md; the environment is read here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF

from coop_site import sso
from coop_site.database import database
from coop_site.env import env_bool, env_int, env_list, env_path, env_secret, env_str
from coop_site.mail import mail_server
from coop_site.secrets import secret_key_in

BASE_DIR = Path(__file__).resolve().parent.parent

# --- llama-coop ------------------------------------------------------------------------------------------------------
COOP_HOME = env_path("COOP_HOME", Path("var"), BASE_DIR)
COOP_GPUS = env_str("COOP_GPUS", "auto")
COOP_SIM_SCENARIO = env_str("COOP_SIM_SCENARIO")
COOP_HOST = env_str("COOP_HOST", "127.0.0.1")
COOP_PORT = env_int("COOP_PORT", 8900, 1, 65535)
COOP_PUBLIC_URL = env_str("COOP_PUBLIC_URL")
COOP_AUTH_TOKEN = env_secret("COOP_AUTH_TOKEN")
COOP_LLAMAFACTORY = env_str("COOP_LLAMAFACTORY", "llamafactory-cli")
COOP_WORKDIR = env_str("COOP_WORKDIR")
COOP_JOB_PATH = env_str("COOP_JOB_PATH", "/usr/local/bin:/usr/bin:/bin")
COOP_JOB_USER = env_str("COOP_JOB_USER")
COOP_POLICY = env_str("COOP_POLICY")
COOP_MODE = env_str("COOP_MODE", "smart-queue")
COOP_CONTAINMENT = env_str("COOP_CONTAINMENT", "auto")
COOP_PERSISTENT_CONNECTIONS = env_bool("COOP_PERSISTENT_CONNECTIONS", False)
"""Set by `serve` for its long-lived single-threaded processes; under ASGI every request has a thread of its
own, and a connection kept per thread would never be closed."""

COOP_SSO = sso.configured()
"""Where people may sign in besides here: the names on the buttons, by key."""

# --- Django ----------------------------------------------------------------------------------------------------------
SECRET_KEY = env_secret("COOP_SECRET_KEY") or secret_key_in(COOP_HOME)
DEBUG = env_bool("COOP_DEBUG", False)
_public_host = urlsplit(COOP_PUBLIC_URL).hostname
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *env_list("COOP_ALLOWED_HOSTS"),
    *([_public_host] if _public_host else []),
]
CSRF_TRUSTED_ORIGINS = [COOP_PUBLIC_URL] if COOP_PUBLIC_URL.startswith("https://") else []

INSTALLED_APPS = [
    "daphne",  # before staticfiles: it replaces runserver
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.forms",  # its widget templates, which FORM_RENDERER looks for among the apps
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_q",
    "ninja",  # serves the API documentation's own assets; without it they would come from a CDN
    "csp",
    *sso.apps(COOP_SSO),
    "gpus",
    "jobs",
]

MIDDLEWARE = [
    "jobs.api.hosts.AnyHostForTokens",  # before anything asks for the host
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "jobs.views.language.ReadersLanguage",
    "jobs.views.clock.ReadersTimeZone",
    "jobs.views.onceread.SettingsReadOnce",
    "django.contrib.messages.middleware.MessageMiddleware",
    *(["allauth.account.middleware.AccountMiddleware"] if COOP_SSO else []),
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "csp.middleware.CSPMiddleware",
]

ROOT_URLCONF = "coop_site.urls"
ASGI_APPLICATION = "coop_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "jobs.context_processors.site",
            ],
        },
    },
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

DATABASES = {"default": database(env_str("COOP_DATABASE_URL"), COOP_HOME)}
DATABASES["default"]["CONN_MAX_AGE"] = None if COOP_PERSISTENT_CONNECTIONS else 0
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "jobs.User"
LOGIN_URL = "signin"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "signin"
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env_str("TZ", "UTC")

# --- Security --------------------------------------------------------------------------------------------------------
_https = COOP_PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [SELF],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = (
    12 * 1024 * 1024
)  # one upload part (8 MiB) and its form, never a whole dataset
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200
FILE_UPLOAD_PERMISSIONS = 0o600

# --- Signing in elsewhere; jobs/sso decides who gets in ---------------------------------------------------------------
SOCIALACCOUNT_PROVIDERS = sso.providers(COOP_SSO)
SOCIALACCOUNT_ADAPTER = "jobs.sso.adapter.Doorkeeper"
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _https else "http"

# --- Mail ------------------------------------------------------------------------------------------------------------
globals().update(mail_server(env_secret("COOP_SMTP_URL")))
DEFAULT_FROM_EMAIL = env_str("COOP_MAIL_FROM", "llama-coop@localhost")

# --- Static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATIC_ROOT = COOP_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "coop_site.staticstorage.NamedByContent"
        if not DEBUG
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# --- django-q2: periodic and slow work, never a job's process ------------------------------------------
Q_CLUSTER = {
    "name": "llama-coop",
    "orm": "default",
    "workers": 1,
    "bulk": 1,
    "queue_limit": 1,
    "poll": 1.0,
    "timeout": 120,
    "retry": 600,  # more than (queue_limit / workers + 1) x timeout, or work is handed out twice
    "max_attempts": 3,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 50,
    "label": "Background work",
}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"prose": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "prose"}},
    "root": {"handlers": ["console"], "level": env_str("COOP_LOG_LEVEL", "INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        # below these levels they write the addresses that they send to, and these are secrets
        "apprise": {"level": "WARNING"},
        "urllib3": {"level": "INFO"},
    },
}
