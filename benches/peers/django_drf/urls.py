"""The calls: create a user, sign in, who am I, health."""

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework import generics, permissions, serializers
from rest_framework.authtoken.views import obtain_auth_token

SHORTEST_PASSWORD = 8


class UserSerializer(serializers.ModelSerializer):
    """A user, whose email address is the name to sign in with."""

    email = serializers.EmailField(max_length=150)
    name = serializers.CharField(source="first_name", max_length=150)
    password = serializers.CharField(write_only=True, min_length=SHORTEST_PASSWORD)

    class Meta:
        """What is answered and asked for."""

        model = User
        fields = ("id", "email", "name", "password")

    def validate_email(self, email: str) -> str:
        """Refuses an address that a user has."""
        if User.objects.filter(username=email).exists():
            raise serializers.ValidationError("a user has this address", code="unique")
        return email

    def create(self, validated_data: dict[str, str]) -> User:
        """Stores the user with the hash of the password."""
        return User.objects.create_user(username=validated_data["email"], **validated_data)


class CreateUser(generics.CreateAPIView):
    """Creates a user; anybody may."""

    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)
    serializer_class = UserSerializer


class Me(generics.RetrieveAPIView):
    """Answers the user whose token this is."""

    serializer_class = UserSerializer

    def get_object(self) -> User:
        """Finds the user: the one that the token was for."""
        return self.request.user


def health(_request: HttpRequest) -> HttpResponse:
    """Says that the server is up."""
    return HttpResponse("ok", content_type="text/plain")


urlpatterns = [
    path("users", CreateUser.as_view()),
    path("sign-in", obtain_auth_token),
    path("me", Me.as_view()),
    path("health", health),
]
