"""Creates a user, looks it up, signs it in, and asks whose access token that is.

    python main.py HOST:PORT TOKEN_FILE
"""

import secrets
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from identity.v1 import auth_service_pb2, auth_service_pb2_grpc
from identity.v1 import user_service_pb2, user_service_pb2_grpc

address, token_file = sys.argv[1:]
service = [("authorization", f"Bearer {Path(token_file).read_text().strip()}")]
email = f"ada-{secrets.token_hex(4)}@example.com"
password = secrets.token_urlsafe(24)


def reason_of(error):
    """Every error has an ErrorInfo, whose reason programs can rely on."""
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(error).details:
        if detail.Unpack(info):
            return info.reason


with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
    users = user_service_pb2_grpc.UserServiceStub(channel)
    auth = auth_service_pb2_grpc.AuthServiceStub(channel)

    request = user_service_pb2.CreateUserRequest(user={"email": email, "full_name": "Ada"}, password=password)
    created = users.CreateUser(request, metadata=service, timeout=10).user
    request = user_service_pb2.LookupUserRequest(email=email.upper())
    found = users.LookupUser(request, metadata=service, timeout=10).user
    print(f"looked up {found.email}: {found.id}")
    assert found == created

    client = {"ip_address": "192.0.2.7", "user_agent": "python"}
    request = auth_service_pb2.SignInWithPasswordRequest(identifier=email, password=password, client=client)
    tokens = auth.SignInWithPassword(request, metadata=service, timeout=10).tokens
    own = [("authorization", f"Bearer {tokens.access_token}")]
    me = auth.GetMe(auth_service_pb2.GetMeRequest(), metadata=own, timeout=10).user
    print(f"signed in as {me.full_name}")
    assert me.id == found.id

    request.password = "a wrong password"
    try:
        auth.SignInWithPassword(request, metadata=service, timeout=10)
    except grpc.RpcError as error:
        print(f"a wrong password: {error.code().name} {reason_of(error)}")
        assert reason_of(error) == "INVALID_CREDENTIALS"
    else:
        sys.exit("a wrong password was taken")
