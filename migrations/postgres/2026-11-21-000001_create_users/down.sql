DROP TABLE users;
DROP FUNCTION users_touch();
DROP TYPE auth_provider;
