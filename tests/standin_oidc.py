"""An OpenID Connect provider for tests: real HTTP, RS256, authorisation code with PKCE. It signs everybody in."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.standin import Answer, Request, StandIn

CLIENT_ID = "coop"
CLIENT_SECRET = "secret-of-the-client"


@dataclass
class Provider:
    """Who signs in, and what is wrong with the provider's answers."""

    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "name": "Li Na"})
    info: dict[str, Any] | None = None  # user info, where it differs
    audience: str = CLIENT_ID
    key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    signing_key: Any = None  # another one than the published
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.server = StandIn(self._answer)
        self.url = self.server.url

    def _answer(self, request: Request) -> Answer:
        pages = {
            "/.well-known/openid-configuration": self._configuration,
            "/authorize": self._authorize,
            "/token": self._token,
            "/userinfo": self._userinfo,
            "/keys": self._keys,
        }
        return pages[request.path](request)

    def _configuration(self, _request: Request) -> Answer:
        return _json(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }
        )

    def _authorize(self, request: Request) -> Answer:
        code = secrets.token_urlsafe(8)
        self.codes[code] = request.query
        back = urlencode({"code": code, "state": request.query["state"]})
        return Answer(b"", 302, {"Location": f"{request.query['redirect_uri']}?{back}"})

    def _token(self, request: Request) -> Answer:
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        asked = self.codes.pop(form["code"])
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if challenge != asked["code_challenge"] or form["client_secret"] != CLIENT_SECRET:
            return _json({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.audience, "iat": now, "exp": now + 300}
        signing = self.signing_key or self.key
        token = jwt.encode(claims | self.person, signing, "RS256", headers={"kid": "k1"})
        return _json({"access_token": "at", "token_type": "Bearer", "id_token": token})

    def _userinfo(self, request: Request) -> Answer:
        assert request.headers["authorization"] == "Bearer at"
        return _json(self.info or self.person)

    def _keys(self, _request: Request) -> Answer:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return _json({"keys": [public | {"kid": "k1", "alg": "RS256", "use": "sig"}]})


def _json(content: dict[str, Any], status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status)
