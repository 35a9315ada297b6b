"""What client.py checks of signing in: every method of the four services, and a token verified offline.

The token is verified with PyJWT, from the keys at the operations port, by code that knows nothing of the server.
"""

import json
import secrets
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

import grpc
import jwt

AUTH = "identity.v1.AuthService"
CREDENTIALS = "identity.v1.CredentialService"
SESSIONS = "identity.v1.SessionService"
SECURITY = "identity.v1.SecurityService"

CLIENT = {"ip_address": "192.0.2.7", "user_agent": "client.py", "client_id": "gate"}

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


def new_password():
    return secrets.token_urlsafe(24)


class SigningIn:
    """The checks, with the tools of client.py."""

    def __init__(self, tools, users, service, operations):
        self.tools = tools
        self.users = users
        self.auth = service(AUTH)
        self.credentials = service(CREDENTIALS)
        self.sessions = service(SESSIONS)
        self.security = service(SECURITY)
        self.operations = operations

    def services(self):
        return [self.auth, self.credentials, self.sessions, self.security]

    def check(self):
        user, password, tokens = self.check_sign_up()
        self.check_token_offline(user, tokens)
        self.check_sign_in(user, password)
        self.check_refresh(user, password)
        password = self.check_passwords(user, password)
        self.check_email(user)
        self.check_sessions(user, password)
        self.check_lockout(user, password)
        self.users.DeleteUser(user_id=user.id)
        self.check_events(user)

    def sign_in(self, identifier, password):
        return self.auth.SignInWithPassword(
            identifier=identifier, password=password, client=CLIENT
        ).tokens

    def check_sign_up(self):
        expect_equal = self.tools.expect_equal
        email, password = self.tools.new_email(), new_password()
        request = {
            "user": {"email": email, "username": self.tools.username()},
            "password": password,
            "client": CLIENT,
            "request_id": str(uuid.uuid4()),
        }
        answer = self.auth.SignUp(**request)
        expect_equal(answer.user.email, email, "the email of who signed up")
        again = self.auth.SignUp(**request)
        expect_equal(again.user.id, answer.user.id, "the user after the same call again")
        return answer.user, password, answer.tokens

    def check_token_offline(self, user, tokens):
        expect_equal = self.tools.expect_equal
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.operations}/.well-known/jwks.json", timeout=10) as answer:
            self.tools.expect("max-age" in answer.headers["cache-control"], "keys may not be kept")
            published = json.load(answer)
        keys = jwt.PyJWKSet.from_dict(published)
        header = jwt.get_unverified_header(tokens.access_token)
        expect_equal(header["typ"], "at+jwt", "the type of the token")
        claims = jwt.decode(
            tokens.access_token,
            keys[header["kid"]].key,
            algorithms=["ES256"],
            audience="identity",
            issuer="identity",
            options={"require": ["exp", "iat", "sub", "aud", "iss", "jti", "client_id"]},
        )
        expect_equal(claims["sub"], user.id, "the subject")
        expect_equal(claims["sid"], tokens.session_id, "the session")
        expect_equal(claims["client_id"], "gate", "the application")
        expect_equal(claims["exp"] - claims["iat"], 300, "the lifetime in seconds")
        listed = [key.kid for key in self.auth.ListSigningKeys().keys]
        expect_equal(listed, [key["kid"] for key in published["keys"]], "the listed keys")

    def check_sign_in(self, user, password):
        expect_equal, refused = self.tools.expect_equal, self.tools.refused
        for identifier in (user.email, user.email.upper(), user.username):
            tokens = self.sign_in(identifier, password)
            answer = self.auth.IntrospectToken(token=tokens.access_token)
            expect_equal((answer.active, answer.user_id), (True, user.id), "the introspection")
        me = self.auth.GetMe(metadata=[("authorization", f"Bearer {tokens.access_token}")])
        expect_equal((me.user.id, me.session.id), (user.id, tokens.session_id), "who is calling")
        # Not even the administrator is a user.
        refused(PERMISSION_DENIED, "PERMISSION_DENIED", self.auth.GetMe)
        wrong = refused(
            UNAUTHENTICATED,
            "INVALID_CREDENTIALS",
            self.auth.SignInWithPassword,
            identifier=user.email,
            password="not the password",
            client=CLIENT,
        )
        unknown = refused(
            UNAUTHENTICATED,
            "INVALID_CREDENTIALS",
            self.auth.SignInWithPassword,
            identifier=self.tools.new_email(),
            password="not the password",
            client=CLIENT,
        )
        expect_equal(wrong.info, unknown.info, "the answer for an unknown user")
        garbage = self.auth.IntrospectToken(token="garbage")
        expect_equal(garbage.ByteSize(), 0, "the size of what is said about garbage")

    def check_refresh(self, user, password):
        expect, refused = self.tools.expect, self.tools.refused
        first = self.sign_in(user.username, password)
        exchange = lambda token: self.auth.RefreshTokens(refresh_token=token, client=CLIENT).tokens
        second = exchange(first.refresh_token)
        expect(second.refresh_token != first.refresh_token, "the refresh token did not change")
        repeated = exchange(first.refresh_token)
        expect(repeated.refresh_token == second.refresh_token, "a lost answer signs people out")
        answer = self.auth.SignOut(refresh_token=second.refresh_token)
        expect(answer.ended_sessions == 1, "no session was ended")
        for token in (first.refresh_token, second.refresh_token):
            refused(
                UNAUTHENTICATED,
                "SESSION_ENDED",
                self.auth.RefreshTokens,
                refresh_token=token,
                client=CLIENT,
            )
        active = self.auth.IntrospectToken(token=second.access_token).active
        expect(not active, "an access token is active after the sign-out")

    def check_passwords(self, user, password):
        """Changes the password in every way there is, and returns the last one."""
        expect, refused = self.tools.expect, self.tools.refused
        credentials = self.credentials
        tokens = self.sign_in(user.email, password)
        changed = new_password()
        credentials.ChangePassword(
            current_password=password,
            new_password=changed,
            client=CLIENT,
            metadata=[("authorization", f"Bearer {tokens.access_token}")],
        )
        right = credentials.VerifyPassword(user_id=user.id, password=changed, client=CLIENT)
        expect(right.matches, "the changed password is not the user's")
        wrong = credentials.VerifyPassword(user_id=user.id, password=password, client=CLIENT)
        expect(not wrong.matches, "the old password is still the user's")

        reset = credentials.CreatePasswordReset(user_id=user.id)
        last = new_password()
        credentials.ConfirmPasswordReset(token=reset.token, new_password=last)
        refused(
            UNAUTHENTICATED,
            "TOKEN_REUSED",
            credentials.ConfirmPasswordReset,
            token=reset.token,
            new_password=new_password(),
        )
        last = new_password()
        credentials.SetPassword(user_id=user.id, password=last)
        status = credentials.GetPasswordStatus(user_id=user.id)
        age = datetime.now(timezone.utc) - status.change_time.ToDatetime(timezone.utc)
        expect(status.password_set and abs(age) < timedelta(minutes=1), "the status is wrong")
        refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            "LAST_CREDENTIAL",
            credentials.RemovePassword,
            user_id=user.id,
        )
        refused(
            grpc.StatusCode.INVALID_ARGUMENT,
            "PASSWORD_BREACHED",
            credentials.SetPassword,
            user_id=user.id,
            password="passwordpassword",
        )
        return last

    def check_email(self, user):
        verification = self.credentials.CreateEmailVerification(user_id=user.id)
        self.tools.expect_equal(verification.email, user.email, "where to deliver the token")
        verified = self.credentials.ConfirmEmailVerification(token=verification.token).user
        self.tools.expect(verified.email_verified, "the email is not verified")

    def check_sessions(self, user, password):
        expect, expect_equal = self.tools.expect, self.tools.expect_equal
        tokens = [self.sign_in(user.email, password) for _ in range(3)]
        ids = [item.session_id for item in tokens]
        listed = self.sessions.ListSessions(user_id=user.id).sessions
        expect_equal([item.id for item in listed], ids[::-1], "the live sessions, the newest first")
        session = self.sessions.GetSession(session_id=ids[0]).session
        expect_equal(session.client.ip_address, CLIENT["ip_address"], "the address of a session")
        revoked = self.sessions.RevokeSession(session_id=ids[0]).session
        expect(revoked.HasField("end_time"), "a revoked session has no end")
        count = self.sessions.RevokeAllSessions(user_id=user.id).ended_sessions
        expect_equal(count, 2, "the sessions that were ended")
        for item in tokens:
            active = self.auth.IntrospectToken(token=item.access_token).active
            expect(not active, "a token of a revoked session is active")

    def check_lockout(self, user, password):
        expect, expect_equal = self.tools.expect, self.tools.expect_equal
        elsewhere = {**CLIENT, "ip_address": "198.51.100.9"}
        guess = {"identifier": user.email, "password": "a guess", "client": elsewhere}
        for _ in range(5):
            self.tools.refused(
                UNAUTHENTICATED, "INVALID_CREDENTIALS", self.auth.SignInWithPassword, **guess
            )
        self.tools.refused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_ATTEMPTS",
            self.auth.SignInWithPassword,
            **{**guess, "password": password},
        )
        lockout = self.security.GetLockout(user_id=user.id).lockout
        expect_equal(lockout.locked_networks, 1, "the networks that have to wait")
        # The owner is elsewhere, and is not kept out.
        self.sign_in(user.email, password)
        self.security.ClearLockout(identifier=user.username)
        self.auth.SignInWithPassword(**{**guess, "password": password})
        attempts = self.security.ListLoginAttempts(
            filter={"user_id": user.id, "success": False}
        ).login_attempts
        expect(len(attempts) >= 5, "failed attempts are not listed")

    def check_events(self, user):
        """What happened to the user is on record after the user is gone, with whom it was done by."""
        expect, expect_equal = self.tools.expect, self.tools.expect_equal
        events = self.security.ListUserEvents(filter={"user_id": user.id}, page_size=100).user_events
        names = [type(event).DESCRIPTOR.fields_by_name["type"].enum_type for event in events[:1]][0]
        kinds = [names.values_by_number[event.type].name for event in events]
        expect_equal(kinds[0], "USER_EVENT_TYPE_USER_DELETED", "the newest event")
        expect_equal(kinds[-1], "USER_EVENT_TYPE_USER_CREATED", "the oldest event")
        expect("USER_EVENT_TYPE_PASSWORD_CHANGED" in kinds, "the change of the password is not on record")
        actors = {event.actor.name for event in events}
        expect_equal(actors, {"admin", user.id}, "who did it")
