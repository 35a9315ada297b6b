DROP TABLE lockouts;
DROP TABLE login_attempts;
