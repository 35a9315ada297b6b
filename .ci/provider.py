"""What client.py checks of accounts at providers: every method of the service, and signing in.

The client is the provider: it serves an OpenID Connect discovery document and a JWK set, and signs ID tokens with PyJWT,
which shares no code with the server.
"""

import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import grpc
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUTH = "identity.v1.AuthService"
ACCOUNTS = "identity.v1.OAuthAccountService"

# As the gate configures the server.
PROVIDER = "gate"
CLIENT_ID = "gate-client"

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


class Issuer:
    """An issuer with a key of RSA, at the address that the server was told."""

    def __init__(self, url):
        self.url = url
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        keys = {"keys": [{**public, "kid": "gate", "alg": "RS256", "use": "sig"}]}
        documents = {
            "/.well-known/openid-configuration": {"issuer": url, "jwks_uri": f"{url}/keys"},
            "/keys": keys,
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                document = documents.get(self.path)
                body = json.dumps(document).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        address = urlsplit(url)
        self.server = ThreadingHTTPServer((address.hostname, address.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def token(self, subject, **changes):
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "sub": subject, "iat": now, "exp": now + 300}
        return jwt.encode({**claims, **changes}, self.key, "RS256", headers={"kid": "gate"})


class Accounts:
    """The checks, with the tools of client.py."""

    def __init__(self, tools, users, auth, service, url):
        self.tools = tools
        self.users = users
        self.auth = auth
        self.accounts = service(ACCOUNTS)
        self.issuer = Issuer(url)

    def services(self):
        return [self.accounts]

    def check(self):
        try:
            user = self.check_sign_in()
            self.check_accounts(user)
            self.users.DeleteUser(user_id=user.id)
        finally:
            self.issuer.close()

    def sign_in(self, token, nonce=""):
        return self.auth.SignInWithIdToken(provider=PROVIDER, id_token=token, nonce=nonce)

    def check_sign_in(self):
        expect, expect_equal, refused = self.tools.expect, self.tools.expect_equal, self.tools.refused
        email, subject, nonce = self.tools.new_email(), uuid.uuid4().hex, uuid.uuid4().hex
        token = self.issuer.token(subject, email=email, email_verified=True, nonce=nonce, name="Ada Lovelace")
        first = self.sign_in(token, nonce)
        expect(first.user_created, "the first sign-in with an account created nobody")
        expect_equal((first.user.email, first.user.full_name), (email, "Ada Lovelace"), "the new user")
        expect_equal(
            self.tools.enum_name(first.user, "auth_provider"), "AUTH_PROVIDER_OIDC", "the provider"
        )
        again = self.sign_in(token, nonce)
        expect_equal((again.user_created, again.user), (False, first.user), "the second sign-in")
        found = self.users.LookupUser(oauth_account={"provider": PROVIDER, "subject": subject}).user
        expect_equal(found, first.user, "the user by provider and subject")
        for forged in (token[:-1], self.issuer.token(subject, aud="other"), self.issuer.token(subject, exp=1)):
            refused(
                UNAUTHENTICATED,
                "ID_TOKEN_REJECTED",
                self.auth.SignInWithIdToken,
                provider=PROVIDER,
                id_token=forged,
            )
        # Whoever has the same email is not let in as that user.
        stranger = self.issuer.token(uuid.uuid4().hex, email=email, email_verified=True)
        refused(
            FAILED_PRECONDITION,
            "LINK_REQUIRED",
            self.auth.SignInWithIdToken,
            provider=PROVIDER,
            id_token=stranger,
        )
        return first.user

    def check_accounts(self, user):
        expect_equal, refused = self.tools.expect_equal, self.tools.refused
        (account,) = self.accounts.ListOAuthAccounts(user_id=user.id).accounts
        expect_equal(account.issuer, self.issuer.url, "the issuer of the account")
        refused(
            FAILED_PRECONDITION,
            "LAST_CREDENTIAL",
            self.accounts.UnlinkOAuthAccount,
            user_id=user.id,
            account_id=account.id,
        )
        second = self.issuer.token(uuid.uuid4().hex)
        linked = self.accounts.LinkOAuthAccount(user_id=user.id, provider=PROVIDER, id_token=second)
        expect_equal(linked.account.user_id, user.id, "whose account was linked")
        expect_equal(self.sign_in(second).user.id, user.id, "who signs in with the second account")
        left = self.accounts.UnlinkOAuthAccount(user_id=user.id, account_id=account.id).user
        expect_equal(left.id, user.id, "who lost an account")
        (account,) = self.accounts.ListOAuthAccounts(user_id=user.id).accounts
        expect_equal(account.id, linked.account.id, "the account that is left")
