"""A client in another language, that knows nothing but the address of the server.

The messages and methods come from server reflection, so that it is the descriptors the server serves that are
put to the test, by a gRPC library that shares no code with the server's.

    client.py HOST:PORT --token FILE --operations URL --issuer URL
                                                        calls every method, and checks the answers and a few errors;
                                                        the provider that the server knows at that URL is the client
    client.py HOST:PORT --token FILE --create EMAIL     creates a user and leaves it there
    client.py HOST:PORT --token FILE --expect EMAIL     checks that this user is there
"""

import argparse
import pathlib
import secrets
import sys
import uuid
from datetime import datetime, timedelta, timezone

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from provider import ACCOUNTS, Accounts
from signing_in import AUTH, CREDENTIALS, SECURITY, SESSIONS, SigningIn

# Longer than any call should take on a busy machine with two cores, where a password hash alone is half a second.
DEADLINE_SECONDS = 20

# Loopback is never reached through the proxy that a CI machine may have in its environment.
CHANNEL_OPTIONS = [("grpc.enable_http_proxy", 0)]

USERS = "identity.v1.UserService"
STATUS = "identity.v1.StatusService"


class Failure(Exception):
    """The server did not do what its contract says."""


def expect(condition, message):
    # Not `assert`, which `python -O` leaves out.
    if not condition:
        raise Failure(message)


def expect_equal(actual, expected, what):
    expect(actual == expected, f"{what} is {actual!r} rather than {expected!r}")


class Bearer(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Shows the token of a service with every call that does not show one of its own."""

    def __init__(self, token):
        self._metadata = ("authorization", f"Bearer {token}")

    def _with_token(self, details):
        metadata = list(details.metadata or [])
        if all(name != "authorization" for name, _ in metadata):
            metadata.append(self._metadata)
        return details._replace(metadata=metadata)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._with_token(details), requests)


class Service:
    """A service found by reflection: `service.GetUser(user_id=…)` calls the method of that name."""

    def __init__(self, channel, pool, name):
        self._channel = channel
        self._descriptor = pool.FindServiceByName(name)
        self._called = set()

    def __getattr__(self, name):
        method = self._descriptor.methods_by_name[name]
        request_class = GetMessageClass(method.input_type)
        of_kind = self._channel.unary_stream if method.server_streaming else self._channel.unary_unary
        call = of_kind(
            f"/{self._descriptor.full_name}/{method.name}",
            request_serializer=request_class.SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )

        def invoke(metadata=None, **fields):
            self._called.add(name)
            return call(request_class(**fields), timeout=DEADLINE_SECONDS, metadata=metadata)

        return invoke

    def uncalled(self):
        return sorted(set(self._descriptor.methods_by_name) - self._called)


class Refusal:
    """What a call that failed answered: its code and the details in its trailing metadata."""

    def __init__(self, error):
        self.code = error.code()
        self.info = None
        self.violations = {}
        trailers = dict(error.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
        # The code is in the details as well, and clients read either.
        expect_equal(status.code, self.code.value[0], "the code in grpc-status-details-bin")
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            bad_request = error_details_pb2.BadRequest()
            if detail.Unpack(info):
                self.info = info
            elif detail.Unpack(bad_request):
                self.violations = {item.field: item.reason for item in bad_request.field_violations}


def refused(code, reason, call, **fields):
    """Makes a call that must fail, and returns what it answered."""
    try:
        call(**fields)
    except grpc.RpcError as error:
        refusal = Refusal(error)
    else:
        raise Failure(f"a call that should have answered {reason} succeeded")
    expect_equal(refusal.code, code, "the code")
    expect(refusal.info is not None, f"{reason}: there is no google.rpc.ErrorInfo")
    expect_equal(refusal.info.domain, "identity", "the domain of the error")
    expect_equal(refusal.info.reason, reason, "the reason of the error")
    return refusal


def enum_name(message, field):
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    return enum.values_by_number[getattr(message, field)].name


def new_email():
    return f"client-{uuid.uuid4().hex}@example.com"


def check_authorization(strangers):
    """Nobody gets in without a token, or with one that was made up."""
    code = grpc.StatusCode.UNAUTHENTICATED
    refused(code, "TOKEN_REQUIRED", strangers.ListUsers)
    forged = [("authorization", "Bearer ids_" + 72 * "0")]
    refused(code, "TOKEN_INVALID", strangers.ListUsers, metadata=forged)


def check_health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", USERS, STATUS):
        answer = stub.Check(
            health_pb2.HealthCheckRequest(service=name), timeout=DEADLINE_SECONDS
        )
        expect_equal(
            answer.status, health_pb2.HealthCheckResponse.SERVING, f"the health of {name!r}"
        )
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=DEADLINE_SECONDS)
    except grpc.RpcError as error:
        expect_equal(error.code(), grpc.StatusCode.NOT_FOUND, "the health of an unknown service")
    else:
        raise Failure("an unknown service has a health")


def check_status(status):
    answer = status.GetStatus()
    expect(answer.version, "there is no version")
    expect(answer.database.connected, "the database is not connected")
    expect(
        enum_name(answer.database, "kind") != "DATABASE_KIND_UNSPECIFIED",
        "the kind of the database is not given",
    )
    expect(answer.pools, "there is no connection pool")
    expect(answer.migrations.applied, "no migration has been applied")
    expect_equal(list(answer.migrations.pending), [], "the list of pending migrations")
    expect(answer.hashing.capacity > 0, "no password may wait to be hashed")


def check_creation(users):
    """Creates a user, and returns it."""
    email = new_email()
    password = secrets.token_urlsafe(24)
    request = {
        "user": {
            "email": email,
            "full_name": "Ada Lovelace",
            "birth_date": {"year": 1815, "month": 12, "day": 10},
        },
        "password": password,
        "request_id": str(uuid.uuid4()),
    }
    started = datetime.now(timezone.utc)
    user = users.CreateUser(**request).user
    expect_equal(str(uuid.UUID(user.id)), user.id, "the id")
    expect_equal(user.email, email, "the email")
    expect_equal(user.full_name, "Ada Lovelace", "the full name")
    date = user.birth_date
    expect_equal((date.year, date.month, date.day), (1815, 12, 10), "the date of birth")
    expect(user.is_active and not user.is_blocked, "a new user is not active, or is blocked")
    expect(not user.email_verified, "a new address is verified")
    expect(user.password_set, "the password is not set")
    expect_equal(enum_name(user, "auth_provider"), "AUTH_PROVIDER_PASSWORD", "the provider")
    expect(password.encode() not in user.SerializeToString(), "the password is returned")
    created = user.create_time.ToDatetime(timezone.utc)
    expect(abs(created - started) < timedelta(minutes=1), f"the time of creation is {created}")
    expect(user.etag, "there is no etag")

    expect_equal(users.CreateUser(**request).user, user, "the user after the same call again")
    return user


def check_reading(users, user):
    expect_equal(users.GetUser(user_id=user.id).user, user, "the user by id")
    expect_equal(users.GetUser(user_id=user.id.upper()).user, user, "the user by id in upper case")
    found = users.LookupUser(email=user.email.upper()).user
    expect_equal(found, user, "the user by email in upper case")

    other = users.CreateUser(user={"email": new_email(), "username": username()}).user
    expect(not other.password_set, "a user without a password has one")
    expect_equal(users.LookupUser(username=other.username).user, other, "the user by username")
    batch = users.BatchGetUsers(user_ids=[other.id, user.id, other.id]).users
    expect_equal([item.id for item in batch], [other.id, user.id, other.id], "the order of a batch")

    only_this = users.ListUsers(filter={"email_prefix": user.email, "is_active": True})
    expect_equal(list(only_this.users), [user], "the list of the users with this email")
    expect_equal(only_this.next_page_token, "", "the token after the last page")
    listed = list(pages(users, filter={"email_prefix": "client-"}, order_by="create_time desc"))
    expect_equal(len(listed), len(set(listed)), "the number of different users in the pages")
    # Both were created by this client and never changed since, so that their order is known.
    expect(
        listed.index(other.id) < listed.index(user.id),
        "the newer user does not come first in descending order",
    )
    users.DeleteUser(user_id=other.id)


def username():
    return f"\\client\\{uuid.uuid4().hex}"


def pages(users, **request):
    """Returns the ids in a list, one user to a page, so that there is more than one page."""
    token = ""
    while True:
        page = users.ListUsers(page_size=1, page_token=token, **request)
        expect(len(page.users) <= 1, "a page is larger than was asked for")
        yield from (user.id for user in page.users)
        token = page.next_page_token
        if not token:
            return


def check_changes(users, user):
    """Changes a user in every way there is, and returns it as it is then."""
    changed = users.UpdateUser(
        user={"id": user.id, "full_name": "Ada King", "email": "ignored@example.com", "etag": user.etag},
        update_mask={"paths": ["full_name"]},
    ).user
    expect_equal(changed.full_name, "Ada King", "the full name")
    expect_equal(changed.email, user.email, "the email, which is not in the mask")
    expect(changed.etag != user.etag, "the etag is still the same after a change")
    expect(
        changed.update_time.ToDatetime() > user.update_time.ToDatetime(),
        "the time of the last change has not moved",
    )
    cleared = users.UpdateUser(user={"id": user.id}, update_mask={"paths": ["birth_date"]}).user
    expect(not cleared.HasField("birth_date"), "the date of birth was not cleared")

    expect(not users.DeactivateUser(user_id=user.id).user.is_active, "the user is still active")
    blocked = users.BlockUser(user_id=user.id, reason="spam").user
    expect(blocked.is_blocked and not blocked.is_active, "blocking did not leave the user inactive")
    expect_equal(blocked.block_reason, "spam", "the reason of the block")
    active = users.ReactivateUser(user_id=user.id).user
    expect(active.is_active and active.is_blocked, "reactivating lifted the block")
    unblocked = users.UnblockUser(user_id=user.id).user
    expect(not unblocked.is_blocked, "the user is still blocked")
    expect_equal(unblocked.block_reason, "", "the reason of a lifted block")
    return unblocked


def check_refusals(users, user, stale_etag):
    refusal = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FORMAT",
        users.CreateUser,
        user={"email": "ada.example.com"},
    )
    expect_equal(refusal.violations, {"user.email": "INVALID_FORMAT"}, "the list of violations")

    refusal = refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELDS",
        users.CreateUser,
        user={"email": "ada.example.com", "birth_date": {"year": 9999, "month": 1, "day": 1}},
        password="short",
    )
    expect_equal(
        set(refusal.violations),
        {"user.email", "user.birth_date", "password"},
        "the set of fields with violations",
    )

    refused(
        grpc.StatusCode.ALREADY_EXISTS,
        "EMAIL_TAKEN",
        users.CreateUser,
        user={"email": user.email.upper()},
    )
    refused(
        grpc.StatusCode.ABORTED,
        "ETAG_MISMATCH",
        users.UpdateUser,
        user={"id": user.id, "full_name": "Somebody else", "etag": stale_etag},
        update_mask={"paths": ["full_name"]},
    )
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "FIELD_NOT_WRITABLE",
        users.UpdateUser,
        user={"id": user.id},
        update_mask={"paths": ["create_time"]},
    )
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_PAGE_TOKEN",
        users.ListUsers,
        page_token="made-up",
    )
    expect_equal(users.GetUser(user_id=user.id).user, user, "the user after refused changes")


def check_watching(users):
    """Whoever watches hears of a change, and goes on where it was."""
    listed = users.ListUsers(page_size=1)
    user = users.CreateUser(user={"email": new_email()}).user

    def changes(stream):
        return (message for message in stream if message.WhichOneof("content") == "change")

    watching = users.WatchUsers(resume_token=listed.resume_token, user_ids=[user.id])
    told = next(changes(watching))
    expect_equal(told.change.user, user, "the user of the change")
    watching.cancel()
    users.DeleteUser(user_id=user.id)
    resumed = users.WatchUsers(resume_token=told.resume_token, user_ids=[user.id])
    gone = next(changes(resumed)).change
    expect_equal(gone.user_id, user.id, "who was deleted")
    expect(not gone.HasField("user"), "a user that was deleted is told")
    resumed.cancel()
    users.CreateUser(user={"email": new_email()})
    snapshot = users.WatchUsers(start_at="WATCH_START_BEGINNING")
    first = next(snapshot)
    expect_equal(first.WhichOneof("content"), "user", "what a snapshot begins with")
    snapshot.cancel()
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_RESUME_TOKEN",
        lambda **fields: next(users.WatchUsers(**fields)),
        resume_token=told.resume_token[1:],
    )


def check_moving(users, auth):
    """A user with the hash of another system comes in, signs in, and gets its data out again."""
    email = new_email()
    # What Django writes for "correct horse battery".
    django = "pbkdf2_sha256$1000$saltsaltsalt1234$wheZis4WMGFy+7bhdev/G/YeD76DK1WUFiU5ngBGWLk="
    results = users.ImportUsers(
        users=[{"email": email, "password_hash": django}, {"email": "no email"}]
    ).results
    outcomes = [enum_name(result, "outcome") for result in results]
    expect_equal(outcomes, ["IMPORT_OUTCOME_CREATED", "IMPORT_OUTCOME_REFUSED"], "the outcomes")
    expect_equal(results[1].violations[0].field, "email", "the field that is refused")
    auth.SignInWithPassword(identifier=email, password="correct horse battery")
    items = [item.WhichOneof("item") for item in users.ExportUser(user_id=results[0].user_id)]
    expect_equal(items, ["user", "session", "login_attempt", "user_event"], "the export")


def check_deletion(users, user):
    users.DeleteUser(user_id=user.id)
    for call, field, value in (
        (users.GetUser, "user_id", user.id),
        (users.LookupUser, "email", user.email),
        (users.DeleteUser, "user_id", user.id),
    ):
        refused(grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND", call, **{field: value})


def check_everything(channel, reflection, users, strangers, service, operations, issuer):
    status = service(STATUS)
    signing_in = SigningIn(sys.modules[__name__], users, service, operations)
    accounts = Accounts(sys.modules[__name__], users, signing_in.auth, service, issuer)
    expect(
        {USERS, STATUS, AUTH, CREDENTIALS, SESSIONS, SECURITY, ACCOUNTS, "grpc.health.v1.Health"}
        <= set(reflection.get_services()),
        f"reflection lists {sorted(reflection.get_services())}",
    )
    check_authorization(strangers)
    check_health(channel)
    check_status(status)
    created = check_creation(users)
    check_reading(users, created)
    user = check_changes(users, created)
    check_refusals(users, user, stale_etag=created.etag)
    check_deletion(users, user)
    check_watching(users)
    check_moving(users, signing_in.auth)
    signing_in.check()
    accounts.check()
    # A method added to the contract has to be added here as well.
    services = [users, status, *signing_in.services(), *accounts.services()]
    uncalled = [name for called in services for name in called.uncalled()]
    expect_equal(uncalled, [], "the list of methods that were not called")


def main():
    parser = argparse.ArgumentParser(description="Checks a running identity service from outside.")
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--token", metavar="FILE", required=True)
    parser.add_argument("--operations", metavar="URL", default="http://127.0.0.1:9464")
    parser.add_argument("--issuer", metavar="URL", default="http://127.0.0.1:9465")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--create", metavar="EMAIL")
    action.add_argument("--expect", metavar="EMAIL")
    arguments = parser.parse_args()

    with grpc.insecure_channel(arguments.address, options=CHANNEL_OPTIONS) as plain:
        token = pathlib.Path(arguments.token).read_text(encoding="ascii").strip()
        channel = grpc.intercept_channel(plain, Bearer(token))
        reflection = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(reflection)
        users = Service(channel, pool, USERS)
        if arguments.create:
            users.CreateUser(user={"email": arguments.create})
        elif arguments.expect:
            user = users.LookupUser(email=arguments.expect).user
            expect_equal(user.email, arguments.expect, "the email")
        else:
            service = lambda name: Service(channel, pool, name)
            strangers = Service(plain, pool, USERS)
            check_everything(
                channel,
                reflection,
                users,
                strangers,
                service,
                arguments.operations,
                arguments.issuer,
            )


if __name__ == "__main__":
    try:
        main()
    except (Failure, grpc.RpcError) as error:
        # The line of the check, without the library's own frames around it.
        trace = error.__traceback__
        lines = []
        while trace is not None:
            file = pathlib.Path(trace.tb_frame.f_code.co_filename)
            if file.parent == pathlib.Path(__file__).parent:
                lines.append(f"{file.name}:{trace.tb_lineno}")
            trace = trace.tb_next
        sys.exit(f"{' > '.join(lines)}: {error}")
