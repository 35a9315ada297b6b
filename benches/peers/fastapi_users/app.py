"""fastapi-users with SQLAlchemy and asyncpg: users with a name, signed in with a password, known by a JWT.

As a program of its own it makes the tables.
"""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI
from fastapi.security import OAuth2PasswordRequestForm
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.exceptions import UserNotExists
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import String, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BCRYPT_COST = 12
# Longer than any run of the benchmark.
TOKEN_LIFETIME_SECONDS = 24 * 60 * 60
# Per process, of which there is one a core: enough that no query waits for a connection.
DATABASE_CONNECTIONS = 20
# Hashes at a time in a process: one keeps a core busy, the second fills in when the other process has none.
HASHES_AT_A_TIME = 2

SECRET = os.environ["PEER_SECRET"]
# "threads" is the better one; "loop" is what the library does when nothing of it is overridden.
HASHES_IN_THREADS = os.environ.get("PEER_HASHING", "threads") == "threads"


class Base(DeclarativeBase):
    """Collects the tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """The library's table of users, with a name."""

    name: Mapped[str] = mapped_column(String(length=200))


class UserRead(schemas.BaseUser[uuid.UUID]):
    """What is answered of a user."""

    name: str


class UserCreate(schemas.BaseUserCreate):
    """What a user is created from."""

    name: str


# Every request here is at most one statement that writes, so that none needs a transaction of several: this saves
# the round trips of BEGIN and ROLLBACK around each.
engine = create_async_engine(
    make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+asyncpg"),
    isolation_level="AUTOCOMMIT",
    pool_size=DATABASE_CONNECTIONS,
    max_overflow=0,
)
new_session = async_sessionmaker(engine, expire_on_commit=False)
hashing = CapacityLimiter(HASHES_AT_A_TIME)
password_helper = PasswordHelper(PasswordHash((BcryptHasher(rounds=BCRYPT_COST),)))


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """The library's, as it is."""


class ThreadedUserManager(UserManager):
    """Checks passwords beside the event loop, where the library does it on the loop and nothing else runs meanwhile."""

    async def authenticate(self, credentials: OAuth2PasswordRequestForm) -> User | None:
        """Answers the user whose password this is."""
        try:
            user = await self.get_by_email(credentials.username)
        except UserNotExists:
            await self._give_connection_back()
            # As much work as for a user who exists, as in the library.
            await to_thread.run_sync(password_helper.hash, credentials.password, limiter=hashing)
            return None
        await self._give_connection_back()
        verified, _ = await to_thread.run_sync(
            password_helper.verify_and_update, credentials.password, user.hashed_password, limiter=hashing
        )
        return user if verified else None

    async def _give_connection_back(self) -> None:
        """Keeps sign-ins that wait for their hash from holding the connections that reads need."""
        await self.user_db.session.commit()


async def get_session() -> AsyncIterator[AsyncSession]:
    """Opens a session for the time of a request."""
    async with new_session() as session:
        yield session


async def get_user_manager(session: Annotated[AsyncSession, Depends(get_session)]) -> AsyncIterator[UserManager]:
    """Makes the manager that a request calls."""
    manager = ThreadedUserManager if HASHES_IN_THREADS else UserManager
    yield manager(SQLAlchemyUserDatabase(session, User), password_helper)


def get_jwt_strategy() -> JWTStrategy[User, uuid.UUID]:
    """Makes what signs and checks tokens."""
    return JWTStrategy(secret=SECRET, lifetime_seconds=TOKEN_LIFETIME_SECONDS)


backend = AuthenticationBackend(
    name="jwt", transport=BearerTransport(tokenUrl="auth/jwt/login"), get_strategy=get_jwt_strategy
)
users = FastAPIUsers[User, uuid.UUID](get_user_manager, [backend])

app = FastAPI(openapi_url=None)
app.include_router(users.get_auth_router(backend), prefix="/auth/jwt")
app.include_router(users.get_register_router(UserRead, UserCreate), prefix="/auth")
app.include_router(users.get_users_router(UserRead, UserCreate), prefix="/users")


@app.get("/health")
async def health() -> dict[str, str]:
    """Says that the server is up."""
    return {"status": "ok"}


async def make_tables() -> None:
    """Creates the tables that are missing."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(make_tables())
