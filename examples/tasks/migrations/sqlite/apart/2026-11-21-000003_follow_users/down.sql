DROP TABLE departed_users;
DROP TABLE user_watch;
